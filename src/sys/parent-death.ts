/** Processes that end with the one that started them (prctl(2), PR_SET_PDEATHSIG). */
import { constants } from 'node:os';
import { prctl } from './prctl.ts';

const PR_SET_PDEATHSIG = 1;

/**
 * Have the kernel kill this process when the thread that started it ends, however it ends. If that
 * has happened already, nothing does: who has a socket to the parent finds it closed then.
 *
 * @throws SystemError.
 */
export function dieWithParent(): void {
  prctl(PR_SET_PDEATHSIG, constants.signals.SIGKILL, 'PR_SET_PDEATHSIG');
}
