/** Operations of fcntl(2) whose argument is a number. */
import { Fcntl } from './constants.ts';
import { call } from './errors.ts';
import { Fd } from './fd.ts';

/** fcntl as the kernel numbers it: what libc takes here is a pointer. */
const SYS_FCNTL: number = process.arch === 'x64' ? 72 : 25;

/** Returns what the operation returns. @throws SystemError. */
export function fcntlNumber(fd: number, operation: number, argument: number): number {
  return call('syscall', SYS_FCNTL, fd, operation, argument, 0, 0, 0);
}

/** Another descriptor of the same open file, closed independently. @throws SystemError. */
export function duplicateFd(fd: number, what: string): Fd {
  return new Fd(fcntlNumber(fd, Fcntl.DUPFD_CLOEXEC, 0), what);
}

/** Let no program that this one executes have the descriptor. @throws SystemError. */
export function setCloseOnExec(fd: number): void {
  fcntlNumber(fd, Fcntl.SETFD, Fcntl.CLOEXEC);
}
