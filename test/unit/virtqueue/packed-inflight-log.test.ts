/** The in-flight log of a packed ring in memory: its layout, what others leave, what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GuestMemory } from '../../../src/memory/index.ts';
import {
  ChainFault,
  createDeviceRing,
  DescriptorChain,
  firstBase,
  inflightLogBytes,
  PackedInflightLog,
} from '../../../src/virtqueue/index.ts';
import { createRingMemory } from '../../support/ring-pair.ts';

const SIZE = 8;
const BYTES = inflightLogBytes(SIZE, 'packed');
const NEXT = 1;
const NO_MEMORY = new GuestMemory([]);

/** A log in its memory, and what a debugger would see there. */
class Log {
  readonly memory: ArrayBuffer = new ArrayBuffer(BYTES);
  readonly log: PackedInflightLog = new PackedInflightLog(
    { memory: this.memory, queueSize: SIZE },
    SIZE,
  );
  readonly view: DataView = new DataView(this.memory);

  recover(isUsed = false): ReturnType<PackedInflightLog['recover']> {
    return this.log.recover(0, () => isUsed);
  }

  /** Take a chain with the buffer ID `id`. */
  begin(id: number, pieces = 1): number {
    const words = new Uint32Array(pieces * 4);
    for (let piece = 0; piece < pieces; piece++) {
      const flags = piece + 1 === pieces ? 0 : NEXT;
      words.set([0x1000 + id, piece, 512 * (piece + 1), id | (flags << 16)], piece * 4);
    }
    return this.log.begin(words, pieces, id);
  }

  use(entry: number): void {
    this.log.prepare(entry);
    this.log.commit(entry);
  }

  get header(): number[] {
    const words = [8, 10, 12, 14, 16, 18].map((at) => this.view.getUint16(at, true));
    return [...words, this.view.getUint8(20), this.view.getUint8(21)];
  }

  /** inflight, next, last, num, counter; id, flags, len, addr. */
  entry(index: number): unknown[] {
    const at = 32 + 32 * index;
    const words = [2, 4, 6].map((offset) => this.view.getUint16(at + offset, true));
    return [this.view.getUint8(at), ...words, this.view.getBigUint64(at + 8, true)];
  }

  descriptor(index: number): unknown[] {
    const at = 32 + 32 * index + 16;
    const { view } = this;
    const [id, flags] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    return [id, flags, view.getUint32(at + 4, true), view.getBigUint64(at + 8, true)];
  }
}

test('the layout is that of the specification, and of DPDK', () => {
  for (const [size, bytes] of [
    [1, 64],
    [2, 128],
    [7, 256],
    [128, 32 * 128 + 64],
  ]) {
    assert.equal(inflightLogBytes(size, 'packed'), bytes);
    assert.equal(bytes, Math.ceil((32 * size + 29) / 64) * 64, 'as DPDK computes it');
  }
  const log = new Log();
  log.recover();
  assert.deepEqual(log.header, [1, SIZE, 0, 0, 0, 0, 1, 1], 'version, size, heads, used, wraps');
  assert.deepEqual([log.begin(5, 2), log.begin(3)], [0, 2]);
  assert.deepEqual(log.entry(0), [1, 1, 1, 2, 0n]);
  assert.deepEqual(log.descriptor(0), [5, NEXT, 512, 0x1005n]);
  assert.deepEqual(log.descriptor(1), [5, 0, 1024, 0x1_0000_1005n]);
  assert.deepEqual(log.entry(2), [1, 3, 2, 1, 1n]);
  assert.deepEqual(log.header.slice(2, 4), [3, 3], 'free from here on');
  log.log.prepare(0);
  assert.equal(log.entry(1)[1], 3, 'its entries are back on the list');
  assert.deepEqual(log.header.slice(2), [0, 3, 2, 0, 1, 1], 'new ones and old ones');
  log.log.commit(0);
  assert.equal(log.entry(0)[0], 0);
  assert.deepEqual(log.header.slice(2), [0, 0, 2, 2, 1, 1]);
});

test('the used position goes round with its wrap counter', () => {
  const log = new Log();
  log.recover();
  for (let chain = 0; chain < 3; chain++) log.use(log.begin(chain, 3));
  assert.deepEqual(log.header.slice(4), [1, 1, 0, 0]);
  log.use(log.begin(0, 7));
  assert.deepEqual(log.header.slice(4), [0, 0, 1, 1]);
});

test('chains come back with their descriptors, oldest first', () => {
  const log = new Log();
  log.recover();
  const [first, second, third] = [log.begin(1), log.begin(2, 3), log.begin(7, 2)];
  log.use(first);
  const fourth = log.begin(4, 2);
  assert.ok(fourth < second, 'it does not go by entries');
  const { chains, descriptors, used, isNew, fault } = log.recover();
  assert.deepEqual(
    [[...chains], used, isNew, fault],
    [[second, third, fourth], 1, false, undefined],
  );
  const ids = Array.from({ length: 7 }, (_, at) => descriptors.getUint16(at * 16 + 12, true));
  assert.deepEqual(ids, [2, 2, 2, 7, 7, 4, 4]);
  assert.equal(descriptors.byteLength, 7 * 16);
});

test('what DPDK leaves of a chain that it was writing down is not under way', () => {
  const log = new Log();
  log.recover();
  log.begin(1);
  // It marks the first entry before anything else, and moves `free_head` with every descriptor.
  log.view.setUint8(32 + 32, 1);
  log.view.setUint16(12, 3, true);
  const { chains, fault } = log.recover();
  assert.deepEqual([[...chains], fault], [[0], undefined]);
  assert.deepEqual([log.entry(1)[0], ...log.header.slice(2, 4)], [0, 1, 1]);
});

test('what DPDK leaves of a request that it was answering is under way until that can be seen', () => {
  for (const isSeen of [false, true]) {
    const log = new Log();
    log.recover();
    log.begin(1);
    log.begin(2);
    log.log.prepare(0);
    const { chains, used } = log.recover(isSeen);
    assert.deepEqual([[...chains], used], isSeen ? [[1], 1] : [[0, 1], 0]);
  }
});

test('of a batch whose marks were being cleared, none is under way', () => {
  const log = new Log();
  log.recover();
  for (let chain = 0; chain < 3; chain++) log.begin(chain);
  // As the specification has it: all are linked and shown, then the marks go, then the rest follows.
  for (const entry of [0, 1, 2]) log.log.prepare(entry);
  log.view.setUint8(32 + 32 * 2, 0);
  const { chains, used, fault } = log.recover();
  assert.deepEqual([[...chains], used, fault], [[], 3, undefined]);
  assert.deepEqual([log.entry(0)[0], log.entry(1)[0], log.header[3]], [0, 0, 2]);
});

/** A log with a free list and chains of one and of two descriptors, and something wrong with it. */
function faultOf(spoil: (view: DataView) => void): string {
  const log = new Log();
  log.recover();
  log.begin(1);
  log.begin(2, 2);
  spoil(log.view);
  return log.recover().fault ?? 'no fault';
}

const BAD_WORDS: readonly (readonly [number, number, RegExp])[] = [
  [8, 2, /is of version 2/],
  [10, 9, /is for 9 descriptors, not 8/],
  [14, 9, /links to entry 9/],
  [14, 4, /has 1 entries that are neither free nor under way/],
  [16, 8, /used position outside of the ring/],
  [18, 8, /used position outside of the ring/],
  [20, 2, /used position outside of the ring/],
  [20, 0x201, /used position outside of the ring/],
  [32 + 32 * 5 + 2, 3, /has entry 3 twice/],
  [32 + 32 * 7 + 2, 0xffff, /links to entry 65535/],
  [32 + 32 * 1 + 2, 1, /has entry 1 twice/],
  [32 + 32 * 1 + 2, 9, /links to entry 9/],
  [32 + 32 * 1 + 4, 1, /chain at entry 1 that is not one of 2 descriptors/],
  [32 + 32 * 1 + 6, 0, /chain at entry 1 that is not one of 0 descriptors/],
  [32 + 32 * 1 + 6, 3, /chain at entry 1 that is not one of 3 descriptors/],
  [32 + 32 * 1 + 6, 0xffff, /not one of 65535 descriptors/],
  [32 + 32 * 1 + 18, 0, /chain at entry 1 that is not one of 2 descriptors/],
  [32 + 32 * 2 + 18, NEXT, /chain at entry 1 that is not one of 2 descriptors/],
  [32 + 32 * 2 + 16, 8, /buffer ID 8/],
  [32, 0, /has 1 entries that are neither free nor under way/],
];

test('a log in which things do not fit together is refused', () => {
  assert.equal(
    faultOf(() => {}),
    'no fault',
  );
  for (const [at, value, reason] of BAD_WORDS) {
    assert.match(
      faultOf((view) => view.setUint16(at, value, true)),
      reason,
      `word at ${at}`,
    );
  }
});

test('a log with more descriptors than its ring is refused', () => {
  const memory = new ArrayBuffer(BYTES);
  const whole = new PackedInflightLog({ memory, queueSize: SIZE }, SIZE);
  whole.recover(0, () => false);
  for (let chain = 0; chain < 4; chain++) whole.begin(new Uint32Array(4), 1, 0);
  const small = new PackedInflightLog({ memory, queueSize: SIZE }, 3);
  assert.match(small.recover(0, () => false).fault ?? '', /has more than the ring's 3 descriptors/);
});

test('a ring with such a log says so, and leaves the log as it is', () => {
  const log = new Log();
  log.recover();
  log.view.setUint16(8, 2, true);
  const before = log.memory.slice(0);
  const inflight = { memory: log.memory, queueSize: SIZE };
  const ring = createRingMemory(SIZE, 'packed');
  const device = createDeviceRing('packed', ring, false, firstBase('packed'), inflight);
  assert.equal(device.fault, 'the in-flight log is of version 2');
  assert.equal(device.unansweredCount, 0);
  assert.deepEqual(log.memory, before);
});

/** Some 16-bit words of a log that makes sense, changed. */
const changes = fc.array(fc.tuple(fc.nat(BYTES / 2 - 1), fc.oneof(fc.nat(9), fc.nat(0xffff))), {
  maxLength: 4,
});

test('whatever the memory holds, a ring that takes it goes on within its bounds', () => {
  let accepted = 0;
  fc.assert(
    fc.property(changes, fc.array(fc.integer({ min: 1, max: 3 })), (words, chains) => {
      const log = new Log();
      log.recover();
      for (const [at, pieces] of chains.entries()) {
        const isFull = (log.header[2] as number) + pieces > SIZE;
        if (!isFull) log.begin(at % SIZE, pieces);
      }
      for (const [at, value] of words) log.view.setUint16(at * 2, value, true);
      const inflight = { memory: log.memory, queueSize: SIZE };
      const ring = createRingMemory(SIZE, 'packed');
      const device = createDeviceRing('packed', ring, false, firstBase('packed'), inflight);
      if (device.fault !== undefined) return;
      accepted += 1;
      const tokens: number[] = [];
      const chain = new DescriptorChain();
      for (let left = device.unansweredCount; left > 0; left--) {
        // The descriptors are the guest's: what they say is checked as ever.
        if (device.takeChain(chain, NO_MEMORY, false) !== ChainFault.OK) return;
        tokens.push(chain.token);
      }
      assert.equal(new Set(tokens).size, tokens.length);
      assert.ok(tokens.length <= SIZE && tokens.every((token) => token < SIZE));
      for (const token of tokens) device.pushUsed(token, 0);
      device.publish();
      const next = createDeviceRing('packed', ring, false, firstBase('packed'), inflight);
      assert.deepEqual([next.fault, next.unansweredCount], [undefined, 0]);
    }),
    { numRuns: 2000 },
  );
  assert.ok(accepted > 200, `${accepted} logs were taken`);
});

test('random bytes are refused', () => {
  const bytes = fc.uint8Array({ minLength: BYTES, maxLength: BYTES });
  fc.assert(
    fc.property(bytes, (random) => {
      const log = new Log();
      new Uint8Array(log.memory).set(random);
      log.view.setUint16(8, 1, true);
      log.view.setUint16(10, SIZE, true);
      assert.notEqual(log.recover().fault, undefined);
    }),
  );
});
