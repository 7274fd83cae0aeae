/** The server whose place is taken: found by its socket, and made sure of before it is told to end. */
import { fstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { ExportError } from '../exports/index.ts';
import type { Disk } from '../storage/index.ts';
import { isSameFile, listenerAt, SystemError } from '../sys/index.ts';

const PROGRAM_NAME = /(^|\/)vhost-user-blk(\.js)?$/;

/** See the module's comment. */
export class Predecessor {
  readonly pid: number;

  /**
   * Who listens at a path, or `undefined` if nobody does.
   *
   * @param disk - that it must have open.
   * @throws ExportError TAKE_OVER_REFUSED if it is none whose place could be taken.
   */
  static find(path: string, disk: Disk): Predecessor | undefined {
    const refused = (why: string): ExportError =>
      new ExportError('TAKE_OVER_REFUSED', `cannot take over ${path}: ${why}`);
    let peer: ReturnType<typeof listenerAt>;
    try {
      peer = listenerAt(path);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      throw refused(error.message);
    }
    if (peer === undefined) return undefined;
    const { pid, user } = peer;
    if (pid === 0) throw refused('who listens there is in another PID namespace');
    const own = process.geteuid?.();
    if (own !== 0 && user !== own) throw refused(`process ${pid} is another user's`);
    const command = commandOf(pid);
    if (!command.some((argument) => PROGRAM_NAME.test(argument))) {
      const text = `process ${pid}, which listens there, is no vhost-user-blk`;
      throw refused(`${text} (of a socket that a service manager has opened, restart the service)`);
    }
    const { descriptor } = disk;
    const isSame = descriptor === undefined ? hasNoFile(command) : hasOpen(pid, descriptor);
    if (!isSame) throw refused(`process ${pid} serves another disk`);
    return new Predecessor(pid);
  }

  private constructor(pid: number) {
    this.pid = pid;
  }

  /** Whether it has ended. */
  get isGone(): boolean {
    try {
      // The state is behind the name, which may have any characters but is in brackets.
      const [state] = readFileSync(`/proc/${this.pid}/stat`, 'latin1').split(') ').slice(-1)[0];
      return state === 'Z' || state === 'X';
    } catch {
      return true;
    }
  }

  /** Have it finish the requests under way, hang up, and end. */
  stop(): void {
    try {
      process.kill(this.pid, 'SIGTERM');
    } catch {
      // It has ended by itself.
    }
  }
}

/** A process's command line; nothing if it has gone. */
function commandOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

/** Disks without a file are all alike. */
function hasNoFile(command: readonly string[]): boolean {
  return command.some((argument) => argument.startsWith('--disk'));
}

function hasOpen(pid: number, descriptor: number): boolean {
  const own = fstatSync(descriptor);
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((number) => {
      const stats = statSync(`${folder}/${number}`, { throwIfNoEntry: false });
      return stats !== undefined && isSameFile(own, stats);
    });
  } catch {
    return false;
  }
}
