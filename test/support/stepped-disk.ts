/**
 * A disk on a reactor whose time stands still unless told: what it does is seen step by step, and no
 * test of it waits for anything.
 */
import assert from 'node:assert/strict';
import {
  type Disk,
  type DiskChannel,
  type DiskRequestHandler,
  DiskRequests,
} from '../../src/storage/index.ts';
import { type Clock, createReactor, Mapping, PENDING } from '../../src/sys/index.ts';
import type { Request } from './disk-session.ts';

const SLOTS = 1024;
const MEMORY_BYTES = 2 ** 21;
/** For requests that do not say. */
const LENGTH = 4096;

/** A clock for a test, also behind the timers of reactors. */
export class SteppedClock implements Clock {
  readonly ms: Float64Array = new Float64Array(1);
  nowMs = 0;

  read(): void {
    this.ms[0] = this.nowMs;
  }
}

/** What a test context can put in another's place. */
interface Mocks {
  readonly mock: { method(object: typeof performance, name: 'now', as: () => number): unknown };
}

/** Have time stand still, until the test ends. */
export function steppedClock(t: Mocks): SteppedClock {
  const clock = new SteppedClock();
  t.mock.method(performance, 'now', () => clock.nowMs);
  return clock;
}

/** A request of one piece of memory, of 4 KiB unless it says. */
export type SteppedRequest = Pick<Request, 'operation' | 'offset' | 'length'>;

/** How a request ended, and when. */
export interface Ending {
  /** How many were started before it. */
  readonly number: number;
  readonly result: number;
  readonly atMs: number;
}

/** One channel of a disk. */
export class SteppedDisk implements Disposable, DiskRequestHandler {
  readonly endings: Ending[] = [];
  readonly channel: DiskChannel;
  readonly #clock: SteppedClock;
  readonly #reactor = createReactor('blocking', 'epoll').reactor;
  readonly #requests = new DiskRequests(SLOTS);
  readonly #memory = Mapping.anonymous(MEMORY_BYTES);
  readonly #free = Array.from({ length: SLOTS }, (_, index) => SLOTS - 1 - index);
  /** Numbers of the requests under way, by slot. */
  readonly #numbers = new Map<number, number>();
  #started = 0;
  /** Called when a request has ended. */
  onEnding: (ending: Ending) => void = () => {};

  /** The disk stays the caller's. */
  constructor(disk: Disk, clock: SteppedClock) {
    this.#clock = clock;
    this.channel = disk.openChannel(this.#reactor, this.#requests, this);
  }

  /** How many requests are under way. */
  get pending(): number {
    return this.#numbers.size;
  }

  /** The numbers of requests in the order they ended in. */
  get order(): number[] {
    return this.endings.map(({ number }) => number);
  }

  /** When each ended, in that order. */
  get times(): number[] {
    return this.endings.map(({ atMs }) => atMs);
  }

  /** Start requests. */
  start(...requests: readonly SteppedRequest[]): void {
    const table = this.#requests;
    for (const { operation, offset = 0, length = LENGTH } of requests) {
      const slot = this.#free.pop();
      assert.ok(slot !== undefined, 'too many requests');
      this.#numbers.set(slot, this.#started);
      this.#started += 1;
      table.operation[slot] = operation;
      table.flags[slot] = 0;
      table.offsetLow[slot] = offset | 0;
      table.offsetHigh[slot] = (offset / 2 ** 32) | 0;
      table.lengthBytes[slot] = length;
      table.iovecs.clear(slot);
      const { address } = this.#memory;
      table.iovecs.push(slot, address | 0, (address / 2 ** 32) | 0, length);
      const result = this.channel.start(slot);
      if (result !== PENDING) this.onDiskDone(slot, result);
    }
  }

  onDiskDone(slot: number, result: number): void {
    const number = this.#numbers.get(slot);
    assert.ok(number !== undefined, 'a request is done once');
    this.#numbers.delete(slot);
    this.#free.push(slot);
    const ending = { number, result, atMs: this.#clock.nowMs };
    this.endings.push(ending);
    this.onEnding(ending);
  }

  /** Let time pass: timers fire in steps of `stepMs`. */
  pass(ms: number, stepMs = 1): void {
    const endMs = this.#clock.nowMs + ms;
    while (this.#clock.nowMs < endMs) {
      this.#clock.nowMs = Math.min(endMs, this.#clock.nowMs + stepMs);
      this.turn();
    }
  }

  turn(): void {
    while (this.#reactor.turn());
  }

  /** How long the reactor would sleep. */
  get msUntilTurn(): number {
    return this.#reactor.msUntilTurn();
  }

  [Symbol.dispose](): void {
    this.channel.close();
    this.#reactor[Symbol.dispose]();
    this.#requests[Symbol.dispose]();
    this.#memory.close();
  }
}
