/**
 * Where the flushes of each reactor go: through a gate and, where one can be had, a file description
 * of its own (see `FlushGate`).
 *
 * A server's thread has one reactor. A client may have many queues in a thread, each with its own,
 * and turn one of them for as long as it likes: a flush there must not wait for one elsewhere.
 */
import { type Fd, openAgain, type Reactor } from '../../sys/index.ts';
import type { FileDiskHandle } from './file-disk.ts';
import { FlushGate } from './flush-gate.ts';

/** See the module's comment. */
export interface FlushLane {
  readonly gate: FlushGate;
  readonly fd: number;
  /** It is another description than that of all other requests. */
  readonly isApart: boolean;
  /** Once for each `enter`. */
  leave(): void;
}

/** Of one disk, in one thread. */
export class FlushLanes {
  readonly #handle: FileDiskHandle;
  /** Opened with the disk: a lane may be asked for when the process can open nothing any more. */
  readonly #opened: Fd | undefined;
  readonly #firstFd: number;
  readonly #lanes = new Map<Reactor, { readonly lane: FlushLane; users: number }>();
  #isFirstFree = true;

  constructor(handle: FileDiskHandle) {
    this.#handle = handle;
    this.#opened = handle.flushFd === undefined ? openAgain(handle.fd) : undefined;
    this.#firstFd = handle.flushFd ?? this.#opened?.number ?? handle.fd;
  }

  /** The lane of a reactor, for a channel on it. */
  enter(reactor: Reactor): FlushLane {
    const known = this.#lanes.get(reactor);
    if (known !== undefined) {
      known.users += 1;
      return known.lane;
    }
    const { fd, flushFailure } = this.#handle;
    const isFirst = this.#isFirstFree;
    this.#isFirstFree = false;
    const own = isFirst ? undefined : openAgain(fd);
    const number = isFirst ? this.#firstFd : (own?.number ?? fd);
    const lane = {
      gate: new FlushGate(flushFailure),
      fd: number,
      isApart: number !== fd,
      leave: () => this.#leave(reactor, own, isFirst),
    };
    this.#lanes.set(reactor, { lane, users: 1 });
    return lane;
  }

  #leave(reactor: Reactor, own: Fd | undefined, isFirst: boolean): void {
    const entry = this.#lanes.get(reactor);
    if (entry === undefined) return;
    entry.users -= 1;
    if (entry.users > 0) return;
    this.#lanes.delete(reactor);
    own?.close();
    if (isFirst) this.#isFirstFree = true;
  }

  /** No lane is used any more. */
  close(): void {
    this.#opened?.close();
  }
}
