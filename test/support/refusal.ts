/** System calls that a program under test is refused. */
import { Errno } from '../../src/sys/index.ts';

const MODULE = new URL('./refuse-calls.js', import.meta.url).href;

/** Module for `node --import`: the calls of these numbers fail. */
export function refusalOf(calls: readonly number[], errno: 'EPERM' | 'ENOSYS'): string {
  return `${MODULE}?calls=${calls.join(',')}&errno=${Errno[errno]}`;
}
