/**
 * The in-flight log of a split ring: a back-end is stopped after each of its stores, and the next
 * one does what was under way again, in order, and nothing else.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  InflightLog,
  inflightLogBytes,
  ringBytes,
  SplitRing,
} from '../../../src/virtqueue/index.ts';

const SIZE = 8;

/** What a back-end is stopped with. */
class Stopped extends Error {}

/** Counts stores, and stops the back-end after some number of them. */
class StoreCounter {
  count = 0;
  stopAfter = Number.POSITIVE_INFINITY;

  note(): void {
    this.count += 1;
  }

  /** Before a store. */
  check(): void {
    if (this.count >= this.stopAfter) throw new Stopped();
  }
}

const TYPED_ARRAYS = ['Uint8Array', 'Uint16Array', 'Uint32Array'] as const;

/** Make a log whose every store is counted: views that it makes are wrapped. */
function countedLog(memory: ArrayBuffer, counter: StoreCounter): InflightLog {
  const originals = TYPED_ARRAYS.map((name) => globalThis[name]);
  const wrap = (Original: new (buffer: ArrayBuffer) => object) =>
    function counted(source: ArrayBuffer | number): object {
      const view = new Original(source as ArrayBuffer);
      if (source !== memory) return view;
      return new Proxy(view, {
        get: (target, key) => Reflect.get(target, key),
        set: (target, key, value) => {
          counter.check();
          counter.note();
          return Reflect.set(target, key, value);
        },
      });
    };
  try {
    TYPED_ARRAYS.forEach((name, at) => {
      Object.assign(globalThis, { [name]: wrap(originals[at] as never) });
    });
    return new InflightLog(memory, SIZE);
  } finally {
    TYPED_ARRAYS.forEach((name, at) => {
      Object.assign(globalThis, { [name]: originals[at] });
    });
  }
}

/** Ring and log, which outlive back-ends, and a driver that knows what it has asked for. */
class Memory {
  readonly log = new ArrayBuffer(inflightLogBytes(SIZE));
  readonly ring = {
    size: SIZE,
    descriptors: new ArrayBuffer(ringBytes(SIZE).descriptors),
    available: new ArrayBuffer(ringBytes(SIZE).available),
    used: new ArrayBuffer(ringBytes(SIZE).used),
  };
  readonly #available = new Uint16Array(this.ring.available);
  readonly #used16 = new Uint16Array(this.ring.used);
  readonly #used32 = new Uint32Array(this.ring.used, 0, 1 + SIZE * 2);
  readonly #free = Array.from({ length: SIZE }, (_, head) => head);
  #seenUsed = 0;
  /** Heads asked for and not answered, oldest first. */
  readonly outstanding: number[] = [];

  get usedIdx(): number {
    return this.#used16[1];
  }

  ask(): void {
    const head = this.#free.shift();
    if (head === undefined) return;
    const idx = this.#available[1];
    this.#available[2 + (idx % SIZE)] = head;
    this.#available[1] = idx + 1;
    this.outstanding.push(head);
  }

  /** Take answers: each must be to a request that is outstanding. */
  harvest(): void {
    while (this.#seenUsed !== this.usedIdx) {
      const head = this.#used32[1 + (this.#seenUsed % SIZE) * 2];
      this.#seenUsed = (this.#seenUsed + 1) & 0xffff;
      const at = this.outstanding.indexOf(head);
      assert.ok(at >= 0, `${head} was answered, though nothing waits for it`);
      this.outstanding.splice(at, 1);
      this.#free.push(head);
    }
  }
}

/** A back-end: takes requests and answers them in any order. */
class BackEnd {
  readonly ring: SplitRing;
  readonly taken: number[] = [];

  constructor(memory: Memory, log: InflightLog) {
    this.ring = new SplitRing(memory.ring, false, memory.usedIdx, log);
    assert.equal(this.ring.fault, undefined);
  }

  take(): void {
    if (this.ring.availableCount() > 0) this.taken.push(this.ring.takeHead());
  }

  finish(which: number): void {
    if (this.taken.length === 0) return;
    const [head] = this.taken.splice(which % this.taken.length, 1);
    this.ring.pushUsed(head, 0);
  }

  takeAll(): number[] {
    while (this.ring.availableCount() > 0) this.take();
    return this.taken;
  }
}

type Step =
  | { readonly kind: 'ask' | 'take' | 'publish' | 'harvest' }
  | { readonly kind: 'finish'; readonly which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.constantFrom<Step>(
    { kind: 'ask' },
    { kind: 'take' },
    { kind: 'publish' },
    { kind: 'harvest' },
  ),
  fc.record({ kind: fc.constant('finish' as const), which: fc.nat(SIZE) }),
);

function perform(steps: readonly Step[], memory: Memory, backEnd: BackEnd): void {
  for (const { kind, ...rest } of steps) {
    if (kind === 'ask') memory.ask();
    else if (kind === 'take') backEnd.take();
    else if (kind === 'finish') backEnd.finish((rest as { which: number }).which);
    else if (kind === 'publish') backEnd.ring.publish();
    else memory.harvest();
  }
}

/** Count the index store of the ring, too: it is the one that the driver sees. */
function withCountedIndex<Result>(counter: StoreCounter, body: () => Result): Result {
  const { store } = Atomics;
  try {
    Atomics.store = ((...args: Parameters<typeof store>) => {
      counter.check();
      counter.note();
      return store(...args);
    }) as typeof store;
    return body();
  } finally {
    Atomics.store = store;
  }
}

/** Run until stopped after so many stores. Returns the order in which heads were taken. */
function runUntilStopped(memory: Memory, steps: readonly Step[], counter: StoreCounter): void {
  withCountedIndex(counter, () => {
    try {
      const backEnd = new BackEnd(memory, countedLog(memory.log, counter));
      perform(steps, memory, backEnd);
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    }
  });
}

/** Another back-end does all that is outstanding, once, oldest first, and nothing else. */
function checkRecovered(memory: Memory): void {
  memory.harvest();
  const next = new BackEnd(memory, new InflightLog(memory.log, SIZE));
  assert.deepEqual(next.takeAll(), memory.outstanding);
  while (next.taken.length > 0) next.finish(0);
  next.ring.publish();
  memory.harvest();
  assert.deepEqual(memory.outstanding, []);
  const third = new SplitRing(memory.ring, false, 0, new InflightLog(memory.log, SIZE));
  assert.equal(third.unansweredCount, 0);
  assert.equal(third.availableCount(), 0);
}

test('stopped after any store, nothing is lost and nothing answered twice', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const whole = new StoreCounter();
      runUntilStopped(new Memory(), steps, whole);
      for (let stopAfter = 0; stopAfter <= whole.count; stopAfter++) {
        const memory = new Memory();
        const counter = new StoreCounter();
        counter.stopAfter = stopAfter;
        runUntilStopped(memory, steps, counter);
        checkRecovered(memory);
      }
    }),
    { numRuns: 100 },
  );
});

test('stopped while it recovers, and again, and again', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.array(step, { maxLength: 20 }), fc.nat(40)), { maxLength: 5 }),
      (lives) => {
        const memory = new Memory();
        for (const [steps, stopAfter] of lives) {
          const counter = new StoreCounter();
          counter.stopAfter = stopAfter;
          runUntilStopped(memory, steps, counter);
        }
        checkRecovered(memory);
      },
    ),
    { numRuns: 1000 },
  );
});

test('a log that is not of the ring is refused', () => {
  const faultOf = (spoil: (words: Uint16Array) => void, usedIdx = 0): string | undefined => {
    const memory = new ArrayBuffer(inflightLogBytes(SIZE));
    const log = new InflightLog(memory, SIZE);
    log.recover(0);
    spoil(new Uint16Array(memory));
    return log.recover(usedIdx).fault;
  };
  assert.equal(
    faultOf(() => {}),
    undefined,
  );
  const cases: readonly (readonly [number, number, number, RegExp])[] = [
    [4, 2, 0, /version 2/],
    [5, 9, 0, /9 descriptors, not 8/],
    [7, 100, 0, /65436 used entries behind/],
    [6, 8, 1, /links to descriptor 8/],
    [6, 0xffff, 1, /links to descriptor 65535/],
  ];
  for (const [word, value, usedIdx, reason] of cases) {
    const spoil = (words: Uint16Array): void => {
      words[word] = value;
    };
    assert.match(faultOf(spoil, usedIdx) ?? 'no fault', reason);
  }
});

test('whatever the memory holds, recovery ends and names heads of the ring only', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: inflightLogBytes(SIZE), maxLength: inflightLogBytes(SIZE) }),
      fc.nat(0xffff),
      (bytes, usedIdx) => {
        const memory = new ArrayBuffer(bytes.length);
        new Uint8Array(memory).set(bytes);
        const words = new Uint16Array(memory);
        [words[4], words[5]] = [1, SIZE];
        const { heads } = new InflightLog(memory, SIZE).recover(usedIdx);
        assert.ok(heads.length <= SIZE && heads.every((head) => head < SIZE));
      },
    ),
  );
});

test('the layout is libvhost-user’s', () => {
  assert.equal(inflightLogBytes(128), Math.ceil((16 * 128 + 16) / 64) * 64);
  const memory = new ArrayBuffer(inflightLogBytes(SIZE));
  const log = new InflightLog(memory, SIZE);
  log.recover(5);
  log.begin(3);
  log.begin(1);
  const view = new DataView(memory);
  const header = [8, 10, 12, 14].map((at) => view.getUint16(at, true));
  assert.deepEqual(header, [1, SIZE, 0, 5], 'version, descriptors, last batch head, used index');
  const entry = (head: number): unknown[] => {
    const at = 16 + 16 * head;
    return [view.getUint8(at), view.getUint16(at + 6, true), view.getBigUint64(at + 8, true)];
  };
  assert.deepEqual(entry(3), [1, 0, 0n]);
  assert.deepEqual(entry(1), [1, 0, 1n]);
  log.finish(1);
  log.finish(3);
  assert.deepEqual([view.getUint16(12, true), entry(3)[1]], [3, 1], 'the batch, last first');
  log.commit(7);
  assert.deepEqual([entry(3)[0], entry(1)[0], view.getUint16(14, true)], [0, 0, 7]);
});
