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

const CODES: Readonly<Record<BlkioErrorCode, true>> = {
  EACCES: true,
  EBADF: true,
  EBUSY: true,
  ECONNREFUSED: true,
  ECONNRESET: true,
  EINTR: true,
  EINVAL: true,
  EIO: true,
  ENODEV: true,
  ENOENT: true,
  ENOMEM: true,
  ENOSPC: true,
  ENOSYS: true,
  ENOTCONN: true,
  ENOTSUP: true,
  ENOTTY: true,
  EPROTO: true,
  EROFS: true,
  ETIME: true,
  ETIMEDOUT: true,
};

/** The code for an errno name; EIO for those that say nothing to users of a device. */
export function blkioCode(errnoName: string): BlkioErrorCode {
  if (errnoName === 'EOPNOTSUPP') return 'ENOTSUP';
  return Object.hasOwn(CODES, errnoName) ? (errnoName as BlkioErrorCode) : 'EIO';
}
