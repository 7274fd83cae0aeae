/** The queues of a device: their memory, and who puts requests on each, in whichever thread. */
import type { Frontend } from '../../../vhost-user/index.ts';
import type { RingFormat } from '../../../virtqueue/index.ts';
import { MemoryRegion } from '../../memory-region.ts';
import { QueueEvents, QueueMemory, queueBytes } from './queue-memory.ts';

/** Whoever puts requests on a queue. */
export interface QueueUser {
  /** The back-end is gone: leave the ring alone, perhaps not before another thread has its turn. */
  lose(): void;
  /** It does. */
  readonly isQuiet: boolean;
  /**
   * A back-end has the ring.
   *
   * @param isSame - it goes on where the last one stopped; else the ring is empty, and what is
   * outstanding has to be asked for again.
   */
  resume(isSame: boolean): void;
  /** There will be none any more: complete what is outstanding with this negative errno. */
  fail(result: number): void;
}

/** See the module's comment. */
export class QueueSet implements Disposable {
  readonly region: MemoryRegion;
  readonly #queues: readonly QueueMemory[];
  readonly #users = new Map<number, QueueUser>();
  /** Queues whose rings are being started. */
  readonly #starting = new Set<number>();

  /** @param size - descriptors of each ring. */
  constructor(count: number, size: number, format: RingFormat) {
    const bytes = queueBytes(size, format);
    // One for all, because back-ends take few.
    const region = MemoryRegion.allocate(count * bytes);
    this.region = region;
    this.#queues = Array.from({ length: count }, (_, index) => {
      const offsetBytes = index * bytes;
      const events = QueueEvents.create();
      return new QueueMemory({ index, size, format, region, offsetBytes, events });
    });
  }

  get count(): number {
    return this.#queues.length;
  }

  memory(index: number): QueueMemory {
    return this.#queues[index];
  }

  /** A queue has a user from now on. */
  use(index: number, user: QueueUser): void {
    this.#users.set(index, user);
  }

  /** And not any more. */
  release(index: number): void {
    this.#users.delete(index);
  }

  get users(): IterableIterator<QueueUser> {
    return this.#users.values();
  }

  /** Start all rings, none of which has been used. */
  async startAll(frontend: Frontend): Promise<void> {
    for (const queue of this.#queues) await frontend.startRing(queue.plan);
  }

  /**
   * Start rings with another back-end, except those whose user may still touch them.
   *
   * @param isSame - it knows what was under way; else the rings start empty.
   * @returns the numbers of those that run.
   */
  async restart(frontend: Frontend, isSame: boolean): Promise<number[]> {
    const started: number[] = [];
    for (let index = 0; index < this.#queues.length; index++) {
      if (await this.restartOne(frontend, index, isSame)) started.push(index);
    }
    return started;
  }

  /** The same for one ring. False: its user may still touch it, or it is being started already. */
  async restartOne(frontend: Frontend, index: number, isSame: boolean): Promise<boolean> {
    const isBusy = this.#users.get(index)?.isQuiet === false;
    if (isBusy || this.#starting.has(index)) return false;
    this.#starting.add(index);
    try {
      const queue = this.#queues[index];
      if (!isSame) queue.clear();
      await frontend.startRing(queue.plan);
      return true;
    } finally {
      this.#starting.delete(index);
    }
  }

  /** Numbers of all queues but these. */
  others(numbers: readonly number[]): number[] {
    return [...this.#queues.keys()].filter((index) => !numbers.includes(index));
  }

  /** Tell a queue's user, if there is one, that its ring runs. */
  resume(index: number, isSame: boolean): void {
    this.#users.get(index)?.resume(isSame);
  }

  [Symbol.dispose](): void {
    for (const queue of this.#queues) queue[Symbol.dispose]();
    this.region[Symbol.dispose]();
  }
}
