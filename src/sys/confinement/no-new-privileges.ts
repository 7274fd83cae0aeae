/** The promise that nothing gives this thread more rights any more (prctl(2), PR_SET_NO_NEW_PRIVS). */
import { prctl } from '../prctl.ts';

const PR_SET_NO_NEW_PRIVS = 38;

/** For the calling thread and those it starts, for good. @throws SystemError. */
export function setNoNewPrivileges(): void {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 'PR_SET_NO_NEW_PRIVS');
}
