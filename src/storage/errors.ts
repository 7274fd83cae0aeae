/** What can be wrong with a disk that somebody wants to open, or to close. */
import { CodedError } from '../sys/index.ts';

/** The reasons. */
export type StorageErrorCode =
  | 'DISK_OPEN_FAILED'
  | 'DISK_NOT_A_FILE'
  | 'DISK_EMPTY'
  | 'DISK_IN_USE'
  | 'DISK_BLOCK_SIZE'
  | 'DISK_OPTION'
  | 'DISK_OBJECT'
  | 'DISK_FORMAT'
  | 'DISK_SECRET'
  | 'DISK_REMOTE'
  | 'DISK_CLOSE_FAILED';

/** A disk cannot be opened, or not be closed as it should be. The message is one line for the person who asked. */
export class StorageError extends CodedError<StorageErrorCode> {
  override readonly name = 'StorageError';
}
