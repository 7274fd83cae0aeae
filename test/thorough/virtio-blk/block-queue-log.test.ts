/**
 * What a queue writes to the guest's memory is in the dirty log: data, serial number and status
 * byte, for every kind of request and outcome, also where logging began after the request was taken.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DirtyLog } from '../../../src/memory/index.ts';
import type { DiskRequests } from '../../../src/storage/index.ts';
import { createEventFd, drainEvent, PENDING } from '../../../src/sys/index.ts';
import { QueueLog, RequestType } from '../../../src/virtio-blk/index.ts';
import { headerBytes } from '../../support/block-chains.ts';
import { propertyOptions } from '../../support/property-options.ts';
import { type Sent, ServedQueue, type ServedQueueOptions } from '../../support/served-queue.ts';

const PAGE = 4096;
const IO_FAILED = -5;

/** A queue with a log that covers all of its memory. */
class LoggedQueue extends ServedQueue {
  readonly bits: Uint8Array;
  readonly log: DirtyLog;

  constructor(options: ServedQueueOptions = {}) {
    super(options);
    const [region] = this.ram.regions;
    this.bits = new Uint8Array((region.guestAddress + region.sizeBytes) / PAGE / 8);
    this.log = new DirtyLog(this.bits);
  }

  startLog(coversData = true, logFd?: number): void {
    const { log } = this;
    this.queue.setLog(new QueueLog({ log, coversData, usedAddress: undefined, logFd }));
  }

  /** All of guest memory, as it is now. */
  copy(): Uint8Array {
    const [region] = this.ram.regions;
    return new Uint8Array(region.mapping.view(0, region.sizeBytes)).slice();
  }

  /** Pages of memory that differ from a copy. */
  changedPages(before: Uint8Array): number[] {
    const after = this.copy();
    const pages: number[] = [];
    for (let at = 0; at < after.length; at += PAGE) {
      const old = Buffer.from(before.buffer, at, PAGE);
      if (old.compare(after.subarray(at, at + PAGE)) !== 0) pages.push(at / PAGE);
    }
    return pages;
  }

  /** Pages of memory that are marked. */
  markedPages(): number[] {
    const [region] = this.ram.regions;
    const first = region.guestAddress / PAGE;
    const pages = Array.from({ length: region.sizeBytes / PAGE }, (_, page) => page);
    return pages.filter((page) => {
      const bit = first + page;
      return (this.bits[Math.floor(bit / 8)] & (1 << (bit % 8))) !== 0;
    });
  }
}

/** A disk that fills what it reads into byte by byte, in random portions, and may fail midway. */
function fillingDisk(portions: readonly number[], result: number) {
  return (requests: DiskRequests) => ({
    start: (slot: number): number => {
      if (requests.operation[slot] !== 0) return 0;
      const { iovecs } = requests;
      const source = Buffer.alloc(requests.lengthBytes[slot], 0x5a);
      let left = source.length;
      for (const portion of portions) {
        const bytes = Math.min(left, portion);
        iovecs.zero(slot, bytes);
        left -= bytes;
      }
      if (result === 0) iovecs.zero(slot, left);
      return result;
    },
    close: () => {},
  });
}

const kinds = fc.constantFrom(
  ...[RequestType.IN, RequestType.OUT, RequestType.GET_ID, RequestType.FLUSH, 99],
);
/** A request: its kind, the lengths of its writable pieces, and the gaps before them. */
const requests = fc.record({
  type: kinds,
  sectors: fc.constantFrom(1, 2, 9, 40),
  cuts: fc.array(fc.nat(40 * 512), { maxLength: 4 }),
  gaps: fc.array(fc.constantFrom(0, 1, 511, 5000, 9000), { minLength: 6, maxLength: 6 }),
  /** Beyond the disk: answered without it. */
  isWrong: fc.boolean(),
});

type RandomRequest = typeof requests extends fc.Arbitrary<infer Value> ? Value : never;

/** Put a random chain on the ring: header and payload, then room and status in pieces. */
function add(queue: LoggedQueue, request: RandomRequest, from: number): number {
  const { type, sectors, isWrong } = request;
  const isRead = type === RequestType.IN || type === RequestType.GET_ID;
  const room = isRead ? sectors * 512 : 0;
  const [region] = queue.ram.regions;
  let at = from;
  const take = (length: number): number => {
    const start = at;
    at += length;
    return start;
  };
  const pieces: { address: number; length: number; isWritable: boolean }[] = [];
  const header = queue.ram.at(0, take(16), 16);
  header.bytes.set(headerBytes(type, isWrong ? 2 ** 40 : 0));
  pieces.push({ address: header.guestAddress, length: 16, isWritable: false });
  if (type === RequestType.OUT) {
    const address = region.guestAddress + take(sectors * 512);
    pieces.push({ address, length: sectors * 512, isWritable: false });
  }
  const cuts = request.cuts.filter((cut) => cut > 0 && cut < room + 1).sort((a, b) => a - b);
  const edges = [...new Set([0, ...cuts, room + 1])];
  for (let index = 1; index < edges.length; index++) {
    take(request.gaps[index]);
    const length = edges[index] - edges[index - 1];
    const { guestAddress, bytes } = queue.ram.at(0, take(length), length);
    bytes.fill(0xee);
    pieces.push({ address: guestAddress, length, isWritable: true });
  }
  queue.addPieces(pieces);
  return at;
}

test('random requests: what has changed is marked, and what is not written is not', () => {
  const portions = fc.array(fc.nat(3000), { maxLength: 6 });
  const results = fc.constantFrom(0, 0, IO_FAILED);
  const lists = fc.array(requests, { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(lists, portions, results, (list, sizes, result) => {
      using queue = new LoggedQueue({ openChannel: fillingDisk(sizes, result) });
      queue.startLog();
      let at = 0;
      for (const request of list) at = add(queue, request, at);
      const before = queue.copy();
      queue.driver.publish();
      while (queue.queue.poll());
      const changed = queue.changedPages(before);
      const marked = queue.markedPages();
      assert.ok(changed.every((page) => marked.includes(page)));
      // Nothing before or after the requests, and no page of all of them that none may write.
      assert.ok(marked.every((page) => page * PAGE < at));
      if (result === 0) assert.deepEqual(marked, changed);
      assert.equal(queue.log.missedCount, 0);
      assert.deepEqual(queue.broken, []);
    }),
    propertyOptions(60),
  );
});

const READ: Sent = { type: RequestType.IN, sector: 0, room: 3 * PAGE };

test('a request under way is logged as it completes, if that is wanted by then', () => {
  const pending = () => ({ start: () => PENDING, close: () => {} });
  using queue = new LoggedQueue({ openChannel: pending });
  queue.send(READ);
  queue.startLog();
  assert.deepEqual(queue.markedPages(), [], 'nothing is written yet');
  queue.queue.onDiskDone(0, 0);
  assert.deepEqual(queue.markedPages(), [0, 1, 2, 3]);
  queue.bits.fill(0);
  queue.queue.poll();
  queue.answers();
  queue.send(READ);
  queue.queue.setLog(undefined);
  queue.queue.onDiskDone(0, 0);
  assert.deepEqual(queue.markedPages(), []);
});

test('data is marked before the driver is shown the answer', () => {
  using queue = new LoggedQueue();
  queue.startLog();
  queue.add(READ);
  queue.driver.publish();
  const marks: number[] = [];
  const publish = queue.ring.publish.bind(queue.ring);
  queue.ring.publish = () => {
    marks.push(queue.markedPages().length);
    return publish();
  };
  queue.queue.poll();
  assert.deepEqual(marks, [4]);
});

test('without VHOST_F_LOG_ALL data is not logged', () => {
  using queue = new LoggedQueue();
  queue.startLog(false);
  queue.ask(READ);
  assert.deepEqual(queue.markedPages(), []);
});

test('what lies beyond the log is counted, and served', () => {
  using queue = new LoggedQueue();
  const bits = new Uint8Array(1);
  const log = new DirtyLog(bits);
  queue.queue.setLog(
    new QueueLog({ log, coversData: true, usedAddress: undefined, logFd: undefined }),
  );
  assert.equal(queue.ask(READ).status, 0);
  // The data and the status byte.
  assert.equal(queue.counted().logMisses, 2);
  assert.equal(bits[0], 0);
});

test('whoever wants to know of changes of the log is told', () => {
  using queue = new LoggedQueue();
  using event = createEventFd();
  queue.startLog(true, event.number);
  queue.ask(READ);
  assert.equal(drainEvent(event.number), 1);
  queue.queue.setLog(undefined);
  queue.ask(READ);
  assert.equal(drainEvent(event.number), 0);
});
