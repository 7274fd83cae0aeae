/**
 * Taking the place of a server that runs (`--take-over`): everything is prepared while the other
 * still serves, then the socket takes its place at the path, the other is told to end, and when it
 * has let go of the image this one serves. If it does not end, it gets its place back.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ExportError, ReplacingSocket } from '../exports/index.ts';
import { type Disk, StorageError } from '../storage/index.ts';
import type { Logger, SocketAccess } from '../sys/index.ts';
import { Predecessor } from './predecessor.ts';

/** How much longer than its own time limit the other may take to end. */
const END_MARGIN_MS = 2200;
const LOOK_MS = 1;

/** See the module's comment. */
export class TakeOver {
  readonly socket: ReplacingSocket;
  readonly #path: string;
  readonly #disk: Disk;
  readonly #predecessor: Predecessor;

  /**
   * Find whose place to take, and listen beside it. `undefined` if nobody listens at the path.
   *
   * @param disk - open, and not locked.
   * @throws ExportError.
   */
  static prepare(path: string, access: SocketAccess, disk: Disk): TakeOver | undefined {
    const predecessor = Predecessor.find(path, disk);
    if (predecessor === undefined) return undefined;
    return new TakeOver(path, new ReplacingSocket(path, access), disk, predecessor);
  }

  private constructor(path: string, socket: ReplacingSocket, disk: Disk, predecessor: Predecessor) {
    this.#path = path;
    this.socket = socket;
    this.#disk = disk;
    this.#predecessor = predecessor;
  }

  /**
   * Resolves when the disk is this process's to use. Rejects with an `ExportError` if the other
   * does not end.
   *
   * @param shutdownTimeoutMs - after how long the other gives up requests under way: the options of
   *     both are the same, as a rule.
   */
  async complete(shutdownTimeoutMs: number, logger: Logger): Promise<void> {
    const { pid } = this.#predecessor;
    const startMs = performance.now();
    const limitMs = shutdownTimeoutMs + END_MARGIN_MS;
    // Before anything has changed: what is wrong with locks shows now.
    const isFree = this.#lock();
    this.socket.takePlace();
    this.#predecessor.stop();
    const isOurs = (): boolean => (isFree ? this.#predecessor.isGone : this.#lock());
    while (!isOurs()) {
      if (performance.now() - startMs > limitMs) throw this.#failure(limitMs);
      await delay(LOOK_MS);
    }
    this.socket.keepPlace();
    const tookMs = (performance.now() - startMs).toFixed();
    logger.info(`took the place of process ${pid}, which has let go after ${tookMs} ms`);
  }

  /**
   * Lock the disk. False if it is in use: it is free as soon as that changes, one whose user does
   * not lock it when the process is gone.
   */
  #lock(): boolean {
    try {
      this.#disk.lock?.acquire();
      return true;
    } catch (error) {
      if (error instanceof StorageError && error.code === 'DISK_IN_USE') return false;
      throw error;
    }
  }

  #failure(limitMs: number): ExportError {
    const { pid, isGone } = this.#predecessor;
    const limit = `within ${limitMs} ms`;
    if (isGone) {
      const text = `process ${pid} has ended, but its disk is still in use ${limit}`;
      return new ExportError('TAKE_OVER_FAILED', `${this.#path}: ${text}`);
    }
    this.socket.giveBack();
    const text = `process ${pid} has not ended ${limit} of being told to; it keeps its place`;
    return new ExportError('TAKE_OVER_FAILED', `${this.#path}: ${text}`);
  }
}
