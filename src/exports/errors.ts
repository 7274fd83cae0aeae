/** Why a disk cannot be made reachable, or is not any more. */
import { CodedError } from '../sys/index.ts';

/** The reasons. */
export type ExportErrorCode =
  | 'EXPORT_OPTION'
  | 'SOCKET_PATH_TOO_LONG'
  | 'SOCKET_IN_USE'
  | 'SOCKET_FAILED'
  | 'SOCKET_BAD_FD'
  | 'TAKE_OVER_REFUSED'
  | 'TAKE_OVER_FAILED'
  | 'ENGINE_REFUSED'
  | 'SANDBOX_REFUSED'
  | 'WORKER_ENDED';

/** An export cannot be set up, or cannot go on. The message is one line for the person who asked. */
export class ExportError extends CodedError<ExportErrorCode> {
  override readonly name = 'ExportError';
}
