/** Settings of the calling thread or process that have one number each (prctl(2)). */
import { SystemError } from './errors.ts';
import { lastErrno, libc } from './libc.ts';

/** By its number: libc's takes any arguments, which koffi would have to be told. */
const PRCTL_CALL = process.arch === 'x64' ? 157 : 167;

/** Change one. @param name - of the option, for the message. @throws SystemError. */
export function prctl(option: number, value: number, name: string): void {
  if (libc.syscall(PRCTL_CALL, option, value, 0, 0, 0, 0) === 0) return;
  throw new SystemError('prctl', lastErrno(), name);
}
