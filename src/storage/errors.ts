/** What can be wrong with a disk that somebody wants to open. */

/** The reasons: match on them. docs/reference/errors.md explains each. */
export type StorageErrorCode =
  | 'DISK_OPEN_FAILED'
  | 'DISK_NOT_A_FILE'
  | 'DISK_EMPTY'
  | 'DISK_IN_USE'
  | 'DISK_BLOCK_SIZE'
  | 'DISK_OPTION';

/** A disk cannot be opened. The message is one line for the person who asked. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
