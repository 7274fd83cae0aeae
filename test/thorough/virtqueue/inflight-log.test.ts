/**
 * The in-flight logs of both formats: a back-end is stopped after each of its stores, and the next
 * one does what was under way again, in order and as it was asked for, and nothing else.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { GuestMemory } from '../../../src/memory/index.ts';
import {
  ChainFault,
  createDeviceRing,
  createDriverRing,
  DescriptorChain,
  type DeviceRing,
  type DriverRing,
  firstBase,
  inflightLogBytes,
  NO_USED,
  type RingFormat,
  type RingMemory,
} from '../../../src/virtqueue/index.ts';
import { createRingMemory } from '../../support/ring-pair.ts';
import { runUntilStopped, StoreCounter } from '../../support/stopped-stores.ts';

const MAX_PIECES = 3;

interface Shape {
  readonly format: RingFormat;
  readonly size: number;
  /** Descriptors the log is made for. */
  readonly queueSize: number;
}

/** What the driver has asked for. */
interface Asked {
  readonly head: number;
  /** In the addresses of its pieces. */
  readonly number: number;
  readonly pieces: number;
}

/** Ring and log, which outlive back-ends, and the driver. */
class Memory {
  readonly shape: Shape;
  readonly ring: RingMemory;
  readonly log: ArrayBuffer;
  readonly driver: DriverRing;
  /** Asked for and not answered, oldest first. */
  readonly outstanding: Asked[] = [];
  #asked = 0;

  constructor(shape: Shape) {
    this.shape = shape;
    this.ring = createRingMemory(shape.size, shape.format);
    this.log = new ArrayBuffer(inflightLogBytes(shape.queueSize, shape.format));
    this.driver = createDriverRing(shape.format, this.ring, { eventIdx: false });
  }

  /** What back-ends write to. */
  get written(): ArrayBuffer[] {
    return [this.log, this.ring.descriptors, this.ring.used];
  }

  ask(pieces: number): void {
    const { driver } = this;
    if (!driver.begin(pieces)) return;
    this.#asked += 1;
    const number = this.#asked;
    for (let piece = 0; piece < pieces; piece++) driver.add(number, piece, 1 + piece, true);
    const head = driver.commit();
    driver.publish();
    this.outstanding.push({ head, number, pieces });
  }

  /** Take answers: each must be to a request that is outstanding. */
  harvest(): void {
    for (;;) {
      const head = this.driver.takeUsed();
      if (head === NO_USED) return;
      const at = this.outstanding.findIndex((asked) => asked.head === head);
      assert.ok(at >= 0, `${head} was answered, though nothing waits for it`);
      this.outstanding.splice(at, 1);
    }
  }

  get numbers(): number[] {
    return this.outstanding.map(({ number }) => number);
  }
}

const NO_MEMORY = new GuestMemory([]);

/** A back-end: takes requests and answers them in any order. */
class BackEnd {
  readonly ring: DeviceRing;
  readonly taken: { readonly token: number; readonly number: number }[] = [];
  readonly #memory: Memory;
  readonly #chain = new DescriptorChain();

  constructor(memory: Memory) {
    this.#memory = memory;
    const { format, queueSize } = memory.shape;
    const inflight = { memory: memory.log, queueSize };
    // What QEMU says after a kill, when it has never stopped the ring.
    const base = firstBase(format);
    this.ring = createDeviceRing(format, memory.ring, false, base, inflight);
    assert.equal(this.ring.fault, undefined);
  }

  take(): void {
    const chain = this.#chain;
    if (this.ring.availableCount() <= 0) return;
    assert.equal(this.ring.takeChain(chain, NO_MEMORY, false), ChainFault.OK);
    const number = chain.addressLow[0];
    const asked = this.#memory.outstanding.find((each) => each.number === number);
    assert.ok(asked !== undefined, `${number} was taken, though nobody waits for it`);
    const pieces = Array.from({ length: asked.pieces }, (_, piece) => [number, piece, 1 + piece]);
    const found = pieces.map((_, at) => [
      chain.addressLow[at],
      chain.addressHigh[at],
      chain.length[at],
    ]);
    assert.deepEqual([chain.count, ...found], [asked.pieces, ...pieces]);
    this.taken.push({ token: chain.token, number });
  }

  finish(which: number): void {
    if (this.taken.length === 0) return;
    const [{ token }] = this.taken.splice(which % this.taken.length, 1);
    this.ring.pushUsed(token, 0);
  }

  takeAll(): number[] {
    while (this.ring.availableCount() > 0) this.take();
    return this.taken.map(({ number }) => number);
  }
}

type Step =
  | { readonly kind: 'take' | 'publish' | 'harvest' }
  | { readonly kind: 'ask' | 'serve'; readonly pieces: number }
  | { readonly kind: 'finish'; readonly which: number };

const ask = fc.record({
  kind: fc.constantFrom('ask' as const, 'serve' as const),
  pieces: fc.integer({ min: 1, max: MAX_PIECES }),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.constantFrom<Step>({ kind: 'take' }, { kind: 'publish' }, { kind: 'harvest' }),
  ask,
  fc.record({ kind: fc.constant('finish' as const), which: fc.nat(MAX_PIECES) }),
);

function perform(steps: readonly Step[], memory: Memory, backEnd: BackEnd): void {
  for (const each of steps) {
    if (each.kind === 'ask') memory.ask(each.pieces);
    else if (each.kind === 'serve') serve(each.pieces, memory, backEnd);
    else if (each.kind === 'take') backEnd.take();
    else if (each.kind === 'finish') backEnd.finish(each.which);
    else if (each.kind === 'publish') backEnd.ring.publish();
    else memory.harvest();
  }
}

/** One request from beginning to end: round the ring, and through the free list. */
function serve(pieces: number, memory: Memory, backEnd: BackEnd): void {
  memory.ask(pieces);
  backEnd.take();
  backEnd.finish(0);
  backEnd.ring.publish();
  memory.harvest();
}

/** A back-end lives until it has made so many stores. Returns how many it made. */
function live(
  memory: Memory,
  steps: readonly Step[],
  stopAfter = Number.POSITIVE_INFINITY,
): number {
  const counter = new StoreCounter();
  counter.stopAfter = stopAfter;
  runUntilStopped(memory.written, counter, () => perform(steps, memory, new BackEnd(memory)));
  return counter.count;
}

/** The driver goes on meanwhile: it takes answers, and fills the ring again. */
function refill(memory: Memory): void {
  memory.harvest();
  for (let chain = 0; chain < memory.shape.size; chain++) memory.ask(1);
}

/** Another back-end does all that is outstanding, once, oldest first, and nothing else. */
function checkRecovered(memory: Memory): void {
  memory.harvest();
  const next = new BackEnd(memory);
  assert.deepEqual(next.takeAll(), memory.numbers);
  while (next.taken.length > 0) {
    // The newest first: what a stopped one has left in the ring must not be taken for an answer.
    next.finish(next.taken.length - 1);
    next.ring.publish();
    memory.harvest();
    assert.equal(memory.outstanding.length, next.taken.length, 'one answer each');
  }
  const third = new BackEnd(memory).ring;
  assert.deepEqual([third.unansweredCount, third.availableCount()], [0, 0]);
}

const SHAPES: readonly Shape[] = [
  { format: 'split', size: 8, queueSize: 8 },
  { format: 'packed', size: 8, queueSize: 8 },
  { format: 'packed', size: 5, queueSize: 7 },
  { format: 'packed', size: 3, queueSize: 3 },
];

for (const shape of SHAPES) {
  const { format, size, queueSize } = shape;
  suite(`a ${format} ring of ${size}, a log for ${queueSize}`, () => {
    test('stopped after any store, nothing is lost and nothing answered twice', () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40 }), fc.boolean(), (steps, goesOn) => {
          const stores = live(new Memory(shape), steps);
          for (let stopAfter = 0; stopAfter <= stores; stopAfter++) {
            const memory = new Memory(shape);
            live(memory, steps, stopAfter);
            if (goesOn) refill(memory);
            checkRecovered(memory);
          }
        }),
        { numRuns: 100 },
      );
    });

    test('stopped after any store, and the next one after any store of its recovery', () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 12 }), fc.boolean(), (steps, goesOn) => {
          const stores = live(new Memory(shape), steps);
          for (let stopAfter = 0; stopAfter <= stores; stopAfter++) {
            let recovering = 0;
            for (let hasMore = true; hasMore; recovering++) {
              const memory = new Memory(shape);
              live(memory, steps, stopAfter);
              if (goesOn) refill(memory);
              hasMore = live(memory, [], recovering) === recovering;
              checkRecovered(memory);
            }
          }
        }),
        { numRuns: 15 },
      );
    });

    test('stopped while it recovers, and again, and again', () => {
      const stop = fc.oneof(fc.nat(20), fc.nat(200));
      const lives = fc.tuple(fc.array(step, { maxLength: 20 }), stop, fc.boolean());
      fc.assert(
        fc.property(fc.array(lives, { maxLength: 10 }), (all) => {
          const memory = new Memory(shape);
          for (const [steps, stopAfter, goesOn] of all) {
            live(memory, steps, stopAfter);
            if (goesOn) refill(memory);
          }
          checkRecovered(memory);
        }),
        { numRuns: 1000 },
      );
    });
  });
}
