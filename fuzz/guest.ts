/**
 * The guest's side of a case: its memory, rings and requests, and whatever is changed there while
 * the device looks.
 */
import { writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { signalEvent } from '../src/sys/index.ts';
import { packedBase } from '../src/virtqueue/index.ts';
import type { Action } from './action.ts';
import { type ActionTable, type AttackCounts, MAX_COUNT } from './attack-place.ts';
import type { CaseDescriptors } from './descriptors.ts';
import { MAX_QUEUE_SIZE, ringPlace } from './geometry.ts';
import type { GuestMemory } from './guest-memory.ts';
import { GuestRequests } from './guest-requests.ts';
import { GuestRing } from './guest-ring.ts';
import { firstNumber, numberOf, parseNumber, queueOf } from './numbers.ts';
import { Random } from './random.ts';

/** Longest wait for a ring. */
const SETTLE_MS = 15;
/** An event counter takes no more than this. */
const FULL = new BigUint64Array([2n ** 64n - 2n]);

/** See the module's comment. */
export class Guest {
  readonly #memory: GuestMemory;
  readonly #fds: CaseDescriptors;
  readonly #counts: AttackCounts;
  readonly #requests: GuestRequests;
  readonly #rings = new Map<number, GuestRing>();

  constructor(memory: GuestMemory, fds: CaseDescriptors, counts: AttackCounts) {
    this.#memory = memory;
    this.#fds = fds;
    this.#counts = counts;
    this.#requests = new GuestRequests(memory);
  }

  /** Actions by their verbs. */
  readonly table: ActionTable = {
    ring: (action) => this.#makeRing(action),
    request: (action) => this.#request(action),
    descriptor: (action) => this.#descriptor(action),
    available: (action) => this.#available(action),
    used: (action) => this.#used(action),
    offer: (action) => this.#offer(action),
    header: (action) => this.#header(action),
    flicker: (action) => this.#flicker(action),
    poke: (action) => this.#poke(action),
    scribble: (action) => this.#scribble(action),
    kick: (action) => this.#kick(queueOf(action), firstNumber(action, 1)),
    fill: (action) => this.#fill(action),
    settle: (action) => this.#settle(queueOf(action)),
    resize: (action) => {
      this.#memory.resize(numberOf(action, 'region', 0), numberOf(action, 'bytes', 0));
    },
  };

  /** Where the driver of a ring stands, as SET_VRING_BASE has it. */
  base(queue: number): number {
    const ring = this.#rings.get(queue);
    const index = ring?.index ?? 0;
    return ring?.format === 'packed' ? packedBase(index, index, ring.size) : index;
  }

  #ring(queue: number): GuestRing {
    const known = this.#rings.get(queue);
    if (known !== undefined) return known;
    const ring = new GuestRing(this.#memory, queue, 'split', 16);
    this.#rings.set(queue, ring);
    return ring;
  }

  #makeRing(action: Action): void {
    const format = action.words.includes('packed') ? 'packed' : 'split';
    const size = Math.min(numberOf(action, 'size', 16), MAX_QUEUE_SIZE);
    const queue = queueOf(action);
    this.#rings.set(queue, new GuestRing(this.#memory, queue, format, size));
  }

  #request(action: Action): void {
    const queue = queueOf(action);
    const ring = this.#ring(queue);
    const times = Math.min(numberOf(action, 'times', 1), MAX_COUNT);
    for (let done = 0; done < times; done++) {
      ring.push(this.#requests.make(action).slice(0, MAX_QUEUE_SIZE));
      this.#counts.requests += 1;
    }
    if (!action.words.includes('quiet')) this.#kick(queue, 1);
  }

  #kick(queue: number, times: number): void {
    const { number } = this.#fds.get(`kick${queue}`);
    const count = Math.min(times, MAX_COUNT);
    for (let done = 0; done < count; done++) signalEvent(number);
    this.#counts.kicks += count;
  }

  /** Change fields of a descriptor of a table or packed ring: of the last chain's by default. */
  #descriptor(action: Action): void {
    const ring = this.#ring(queueOf(action));
    const index = (ring.lastHead + firstNumber(action, 0)) % ring.size;
    for (const name of ['address', 'length', 'flags', 'next', 'id']) {
      const value = action.values.get(name);
      if (value === undefined) continue;
      ring.setField(index, name, parseNumber(value));
      this.#counts.mutations += 1;
    }
  }

  #available(action: Action): void {
    const queue = queueOf(action);
    const { available } = ringPlace(queue);
    const flags = action.values.get('flags');
    if (flags !== undefined) this.#memory.setNumber(0, available, 2, parseNumber(flags));
    const event = action.values.get('event');
    const eventAt = available + 4 + this.#ring(queue).size * 2;
    if (event !== undefined) this.#memory.setNumber(0, eventAt, 2, parseNumber(event));
    const jump = action.values.get('jump');
    if (jump !== undefined) {
      this.#ring(queue).publish(
        this.#ring(queue).index + Number(BigInt.asIntN(64, parseNumber(jump))),
      );
    }
    this.#counts.mutations += 1;
    this.#kick(queue, 1);
  }

  #used(action: Action): void {
    const { used } = ringPlace(queueOf(action));
    for (const [key, at] of [
      ['flags', 0],
      ['index', 2],
    ] as const) {
      const value = action.values.get(key);
      if (value !== undefined) this.#memory.setNumber(0, used + at, 2, parseNumber(value));
    }
    this.#counts.mutations += 1;
  }

  /** Offer heads again, or such as there are none of. */
  #offer(action: Action): void {
    const queue = queueOf(action);
    const times = Math.min(numberOf(action, 'times', 1), MAX_COUNT);
    const ring = this.#ring(queue);
    for (let done = 0; done < times; done++) ring.offer(firstNumber(action, 0) & 0xffff);
    this.#kick(queue, 1);
  }

  /** Change the last request's header. */
  #header(action: Action): void {
    const { region, offset } = this.#requests.lastHeader;
    const type = action.values.get('type');
    const sector = action.values.get('sector');
    if (type !== undefined) this.#memory.setNumber(region, offset, 4, parseNumber(type));
    if (sector !== undefined) this.#memory.setNumber(region, offset + 8, 8, parseNumber(sector));
    this.#counts.mutations += 1;
  }

  /** Let a field change to and fro, as fast as it goes, while the device reads it. */
  #flicker(action: Action): void {
    const [what = 'length'] = action.words;
    const { region, offset, bytes } = this.#flickerPlace(action, what);
    const [a, b] = ['a', 'b'].map((key) => parseNumber(action.values.get(key) ?? '0'));
    const times = Math.min(numberOf(action, 'times', 10_000), MAX_COUNT);
    const queue = queueOf(action);
    this.#kick(queue, 1);
    for (let done = 0; done < times; done++) {
      this.#memory.setNumber(region, offset, bytes, done % 2 === 0 ? b : a);
      if (done % 1000 === 500) this.#kick(queue, 1);
    }
    this.#memory.setNumber(region, offset, bytes, a);
    this.#counts.mutations += times;
  }

  #flickerPlace(
    action: Action,
    what: string,
  ): { readonly region: number; readonly offset: number; readonly bytes: number } {
    const queue = queueOf(action);
    const ring = this.#ring(queue);
    const header = this.#requests.lastHeader;
    switch (what) {
      case 'type':
        return { ...header, bytes: 4 };
      case 'sector':
        return { ...header, offset: header.offset + 8, bytes: 8 };
      case 'index':
        return { region: 0, offset: ring.place.available + 2, bytes: 2 };
      default: {
        const index = (ring.lastHead + numberOf(action, 'descriptor', 0)) % ring.size;
        return { region: 0, ...ring.field(index, what) };
      }
    }
  }

  #poke(action: Action): void {
    const bytes = Buffer.from(action.values.get('bytes') ?? '', 'hex');
    this.#memory.setBytes(numberOf(action, 'region', 0), numberOf(action, 'offset', 0), bytes);
    this.#counts.mutations += 1;
  }

  /** Change bytes of a ring here and there; a kick now and then. */
  #scribble(action: Action): void {
    const random = new Random(action.values.get('seed') ?? '0');
    const queue = queueOf(action);
    const { descriptors, available, used } = this.#ring(queue).place;
    const times = Math.min(numberOf(action, 'times', 100), MAX_COUNT);
    const size = this.#ring(queue).size;
    for (let done = 0; done < times; done++) {
      const [start, bytes] = random.pick([
        [descriptors, size * 16],
        [available, 4 + size * 2],
        [used, 4 + size * 8],
      ]);
      // Small numbers are the more dangerous ones: indices, flags, lengths that are nearly right.
      const value = random.chance(50) ? random.below(8) : random.below(256);
      this.#memory.setU8(0, start + random.below(bytes), value);
      if (done % 16 === 0) this.#kick(queue, 1);
    }
    this.#counts.mutations += times;
  }

  /** Fill one of the counters of a queue: one more would wait. */
  #fill(action: Action): void {
    const [what = 'call'] = action.words;
    const fd = this.#fds.get(`${what}${queueOf(action)}`);
    try {
      writeSync(fd.number, new Uint8Array(FULL.buffer));
    } catch (error) {
      // It is not at zero: that much does not fit.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      for (let done = 0; done < 100; done++) signalEvent(fd.number);
    }
  }

  async #settle(queue: number): Promise<void> {
    const ring = this.#ring(queue);
    const endMs = performance.now() + SETTLE_MS;
    while (!ring.isSettled && performance.now() < endMs) await delay(1);
  }
}
