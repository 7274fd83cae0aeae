/** The promise that nothing gives this thread more rights any more (prctl(2), PR_SET_NO_NEW_PRIVS). */
import { SystemError } from '../errors.ts';
import { lastErrno, libc } from '../libc.ts';

const PRCTL_CALL: number = process.arch === 'x64' ? 157 : 167;
const PR_SET_NO_NEW_PRIVS = 38;

/** For the calling thread and those it starts, for good. @throws SystemError. */
export function setNoNewPrivileges(): void {
  if (libc.syscall(PRCTL_CALL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0) === 0) return;
  throw new SystemError('prctl', lastErrno(), 'PR_SET_NO_NEW_PRIVS');
}
