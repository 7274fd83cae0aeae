/** What can go wrong with a device of the client library. */
import { CodedError, Errno } from '../sys/index.ts';

/** The codes are names of errno values, as libblkio returns them. */
export type BlkioErrorCode =
  | 'EACCES'
  | 'EBADF'
  | 'EBUSY'
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'EINTR'
  | 'EINVAL'
  | 'EIO'
  | 'ENODEV'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'ENOSYS'
  | 'ENOTCONN'
  | 'ENOTSUP'
  | 'ENOTTY'
  | 'EPROTO'
  | 'EROFS'
  | 'ETIME'
  | 'ETIMEDOUT';

/** An operation on a device was refused or failed. Match on `code`. */
export class BlkioError extends CodedError<BlkioErrorCode> {
  override readonly name = 'BlkioError';

  /** The positive errno value of `code`. */
  get errno(): number {
    return this.code === 'ENOTSUP' ? Errno.EOPNOTSUPP : Errno[this.code];
  }
}
