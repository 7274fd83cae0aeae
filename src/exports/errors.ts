/** Why a disk cannot be made reachable. */

/** The reasons: match on them. docs/reference/errors.md explains each. */
export type ExportErrorCode =
  | 'SOCKET_PATH_TOO_LONG'
  | 'SOCKET_IN_USE'
  | 'SOCKET_FAILED'
  | 'SOCKET_BAD_FD'
  | 'ENGINE_REFUSED';

/** An export cannot be set up. The message is one line for the person who asked. */
export class ExportError extends Error {
  override readonly name = 'ExportError';
  readonly code: ExportErrorCode;

  constructor(code: ExportErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
