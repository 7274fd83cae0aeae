/**
 * What a queue tells the dirty log: which guest memory each kind of its writes has changed.
 */
import type { DirtyLog, GuestMemory } from '../memory/index.ts';
import { signalEvent } from '../sys/index.ts';
import type { DeviceRing } from '../virtqueue/index.ts';
import type { BlockRequests } from './block-requests.ts';
import { Counter } from './counters.ts';

export interface QueueLogOptions {
  /** Of this queue alone. */
  readonly log: DirtyLog;
  /** VHOST_F_LOG_ALL: data and status are logged. */
  readonly coversData: boolean;
  /** VHOST_VRING_F_LOG: the used ring is logged as if it lay at this guest address. */
  readonly usedAddress: number | undefined;
  /** Descriptor to signal when the log has changed (SET_LOG_FD). */
  readonly logFd: number | undefined;
}

/** See the module's comment. */
export class QueueLog {
  /** Where to log data and status, if they are to be. */
  readonly dataLog: DirtyLog | undefined;
  readonly #log: DirtyLog;
  readonly #usedAddress: number | undefined;
  readonly #logFd: number | undefined;

  constructor(options: QueueLogOptions) {
    this.#log = options.log;
    this.dataLog = options.coversData ? options.log : undefined;
    this.#usedAddress = options.usedAddress;
    this.#logFd = options.logFd;
  }

  /** Let a ring log its own writes from now on, as far as they are to be. */
  attach(ring: DeviceRing): void {
    const isLogged = this.#usedAddress !== undefined;
    ring.setDirtyLog(isLogged ? this.#log : undefined, this.#usedAddress ?? 0);
  }

  /** The disk is done with a read: log the memory it was to fill, whether it has or not. */
  read(requests: BlockRequests, slot: number, memory: GuestMemory): void {
    const log = this.dataLog;
    if (log === undefined) return;
    const { iovecs } = requests.disk;
    // The disk has used the list up. Only the host's addresses are known of a request under way, so
    // that it can be logged though logging began after it was taken.
    iovecs.rewind(slot);
    const { words } = iovecs;
    let at = iovecs.firstWord(slot);
    for (let left = iovecs.remaining(slot); left > 0; left--) {
      if (memory.locateHost(words[at], words[at + 1])) {
        log.mark(memory.guestLow, memory.guestHigh, words[at + 2] >>> 0);
      }
      at += 4;
    }
  }

  /** A status byte was written. */
  status(requests: BlockRequests, slot: number): void {
    this.dataLog?.mark(requests.statusLow[slot], requests.statusHigh[slot], 1);
  }

  /** The ring was published, and all that the driver can see is marked. */
  published(counters: Float64Array): void {
    const log = this.#log;
    counters[Counter.logMisses] += log.missedCount;
    log.missedCount = 0;
    if (this.#logFd !== undefined) signalEvent(this.#logFd);
  }
}
