/** Why a disk cannot be made reachable. */
import { CodedError } from '../sys/index.ts';

/** The reasons. */
export type ExportErrorCode =
  | 'SOCKET_PATH_TOO_LONG'
  | 'SOCKET_IN_USE'
  | 'SOCKET_FAILED'
  | 'SOCKET_BAD_FD'
  | 'ENGINE_REFUSED'
  | 'SANDBOX_REFUSED';

/** An export cannot be set up. The message is one line for the person who asked. */
export class ExportError extends CodedError<ExportErrorCode> {
  override readonly name = 'ExportError';
}
