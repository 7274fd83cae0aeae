/**
 * Locks on byte ranges of a file that belong to the open file description (fcntl(2), F_OFD_*):
 * they end when its last descriptor is closed, and exclude other openings by the same process too.
 */
import { Fcntl } from './constants.ts';
import { Errno, SystemError } from './errors.ts';
import { lastErrno, libc } from './libc.ts';

/** struct flock { short type; short whence; off_t start; off_t len; pid_t pid }. */
function flock(type: number, startByte: number): DataView {
  const view = new DataView(new ArrayBuffer(32));
  view.setInt16(0, type, true);
  view.setBigInt64(8, BigInt(startByte), true);
  view.setBigInt64(16, 1n, true);
  return view;
}

/** Take a shared lock on one byte. False if somebody holds it exclusively. */
export function lockByteShared(fd: number, byte: number): boolean {
  return lockByte(fd, Fcntl.RDLCK, byte);
}

/** Take a lock on one byte that nobody else can have at the same time. False if somebody has one. */
export function lockByteExclusively(fd: number, byte: number): boolean {
  return lockByte(fd, Fcntl.WRLCK, byte);
}

function lockByte(fd: number, type: number, byte: number): boolean {
  if (libc.fcntl(fd, Fcntl.OFD_SETLK, flock(type, byte)) === 0) return true;
  const errno = lastErrno();
  if (errno === Errno.EAGAIN || errno === Errno.EACCES) return false;
  throw new SystemError('fcntl', errno, 'lock');
}

/** Let a byte go. */
export function unlockByte(fd: number, byte: number): void {
  if (libc.fcntl(fd, Fcntl.OFD_SETLK, flock(Fcntl.UNLCK, byte)) === 0) return;
  throw new SystemError('fcntl', lastErrno(), 'unlock');
}

/** Whether another opening of the file holds any lock on a byte. */
export function isByteLockedByOthers(fd: number, byte: number): boolean {
  const probe = flock(Fcntl.WRLCK, byte);
  if (libc.fcntl(fd, Fcntl.OFD_GETLK, probe) === -1) {
    throw new SystemError('fcntl', lastErrno(), 'lock query');
  }
  return probe.getInt16(0, true) !== Fcntl.UNLCK;
}
