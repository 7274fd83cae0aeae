/**
 * Child processes that can't outlive this one, whatever ends it, and option strings for QEMU.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { findProgram } from '../../tools/guest/programs.ts';

/** How a process ended: with an exit code or by a signal. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * Why `spawnTied` does not work here, as an install line; undefined if it does.
 */
export function tiedProcessRequirement(): string | undefined {
  if (findProgram('setpriv') !== undefined) return undefined;
  return 'setpriv is missing; install it: apt-get install util-linux';
}

/**
 * Start a program that the kernel kills when this process ends, however it ends. Exit handlers
 * would not do: a test runner ends a test that takes too long by a signal.
 *
 * To be called from the main thread: the kernel ties a child to the thread that started it.
 */
export function spawnTied(
  program: string,
  args: readonly string[],
  stdio: StdioOptions,
): TiedChild {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], { stdio });
  const ended = once(child, 'close').then(([code, signal]): ProcessEnd => ({ code, signal }));
  // Who waits gets the error; without one who waits it must not end this process.
  ended.catch(() => {});
  return { child, ended };
}

/** A child process and its end. */
export interface TiedChild {
  readonly child: ChildProcess;
  /** When the process has ended and its output has been read; rejects if it could not start. */
  readonly ended: Promise<ProcessEnd>;
}

/**
 * A value within one of QEMU's `key=value,key=value` strings, where a comma has to be doubled.
 */
export function qemuValue(value: string): string {
  return value.replaceAll(',', ',,');
}
