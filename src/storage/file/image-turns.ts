/**
 * Turns of processes that use an image one after the other, each with an opening of its own, on
 * behalf of an owner that has it open throughout (`--isolate`).
 *
 * A process that was killed may have requests on their way to the disk: they hold its opening, and
 * with it the lock on a byte that says whose turn it is. So the next one knows when they are done,
 * and cannot be overtaken by them. The byte is one that means nothing to anybody else.
 */
import { randomInt } from 'node:crypto';
import { Errno, isByteLockedByOthers, lockByteExclusively, SystemError } from '../../sys/index.ts';
import type { Disk } from '../disk.ts';

/** How to be one of those processes: plain data, for a command line. */
export interface Succession {
  /** The owner's opening, as a descriptor of this process, which closes it when it is done. */
  readonly descriptor: number;
  readonly turnByte: number;
}

/** Far from the bytes that have a meaning (image-lock.ts); a program each gets one at random. */
const FIRST_TURN_BYTE = 2 ** 40;
const TURN_BYTES = 2 ** 47;

/** A byte for a new owner. */
export function newTurnByte(): number {
  return FIRST_TURN_BYTE + randomInt(TURN_BYTES);
}

/** See the module's comment. */
export class ImageTurns {
  readonly #fd: number | undefined;
  readonly #turnByte: number;

  /**
   * @param disk - this process's. Without a file, or with one that is only read, there is nothing
   *   that could be overtaken; and who cannot write cannot take such a lock either.
   */
  constructor(disk: Disk, turnByte: number) {
    const { descriptor } = disk;
    this.#fd = disk.info.readOnly ? undefined : descriptor;
    this.#turnByte = turnByte;
  }

  /** Whether no process has its turn. */
  get isFree(): boolean {
    return this.#ask((fd, byte) => !isByteLockedByOthers(fd, byte));
  }

  /** It is this process's turn, to its end. False if it is another's still. */
  take(): boolean {
    return this.#ask(lockByteExclusively);
  }

  #ask(question: (fd: number, byte: number) => boolean): boolean {
    if (this.#fd === undefined) return true;
    try {
      return question(this.#fd, this.#turnByte);
    } catch (error) {
      // A file system without locks: as with --locking=off, nothing guards against it.
      const { ENOLCK, EOPNOTSUPP, EINVAL } = Errno;
      if (error instanceof SystemError && [ENOLCK, EOPNOTSUPP, EINVAL].includes(error.errno)) {
        return true;
      }
      throw error;
    }
  }
}
