/** The channel of an encrypted disk over one that does what the test says: order, and giving up. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskOperation, DiskRequests } from '../../../../src/storage/index.ts';
import { cipherSpec } from '../../../../src/storage/luks/cipher-spec.ts';
import { EncryptChannel } from '../../../../src/storage/luks/encrypt-channel.ts';
import { openSectorCipher } from '../../../../src/storage/luks/sector-cipher.ts';
import { SharedLatch } from '../../../../src/storage/luks/shared-latch.ts';
import { ZeroPiece } from '../../../../src/storage/luks/zero-piece.ts';
import { createReactor, Errno, Mapping, PENDING } from '../../../../src/sys/index.ts';
import { ScriptedChannel } from '../../../support/scripted-channel.ts';

const LANE_BYTES = 65536;
const SECTOR_BYTES = 4096;
const DATA_OFFSET = 2 ** 20;

/** A channel over a scripted disk, and what its requests have come to. */
class ScriptedDisk implements Disposable {
  readonly lower = new ScriptedChannel();
  readonly done: (readonly [number, number])[] = [];
  readonly latch = new SharedLatch();
  readonly channel: EncryptChannel;
  readonly #memory = Mapping.anonymous(2 ** 20);
  readonly #requests = new DiskRequests(8);
  readonly #zeros = new ZeroPiece();
  readonly #reactor = createReactor('blocking', 'auto').reactor;

  constructor() {
    const key = Buffer.from(Array.from({ length: 64 }, (_, index) => index));
    const data = {
      cipher: openSectorCipher(cipherSpec('aes-xts-plain64', 64), key, SECTOR_BYTES),
      ...{ sectorBytes: SECTOR_BYTES, blockBytes: SECTOR_BYTES, dataOffset: DATA_OFFSET },
      ...{ firstNumber: 0, latch: this.latch, zeros: this.#zeros },
    };
    const handler = { onDiskDone: (slot: number, result: number) => this.#note(slot, result) };
    const open = this.lower.open;
    this.channel = new EncryptChannel(this.#reactor, this.#requests, handler, data, open);
  }

  #note(slot: number, result: number): void {
    assert.ok(!this.done.some(([other]) => other === slot), 'a request is done once');
    this.done.push([slot, result]);
  }

  start(slot: number, operation: number, offset: number, length: number): number {
    const requests = this.#requests;
    requests.operation[slot] = operation;
    requests.flags[slot] = 0;
    requests.offsetLow[slot] = offset;
    requests.offsetHigh[slot] = 0;
    requests.lengthBytes[slot] = length;
    requests.iovecs.clear(slot);
    const { address } = this.#memory;
    requests.iovecs.push(slot, address | 0, (address / 2 ** 32) | 0, length);
    return this.channel.start(slot);
  }

  /** Let timers run: those that are due within some milliseconds, and what they set. */
  turns(): void {
    const endMs = performance.now() + 5;
    // The machine may have been busy with something else all the time.
    for (let turns = 0; turns < 10; ) {
      this.#reactor.turn();
      if (performance.now() >= endMs) turns += 1;
    }
  }

  [Symbol.dispose](): void {
    this.channel.close();
    this.#reactor[Symbol.dispose]();
    this.#requests[Symbol.dispose]();
    this.#zeros.close();
    this.#memory.close();
  }
}

test('a part of a block that has been read is not written any more', () => {
  using disk = new ScriptedDisk();
  const { lower, done, channel } = disk;
  lower.results = [PENDING];
  assert.equal(disk.start(0, DiskOperation.WRITE, 512, 512), PENDING);
  // Another one waits for the first.
  assert.equal(disk.start(1, DiskOperation.WRITE, 1024, 512), PENDING);
  channel.abandon();
  assert.ok(lower.isAbandoned);
  lower.finish(0);
  disk.turns();
  assert.deepEqual(
    [...done].sort(([a], [b]) => a - b),
    [
      [0, -Errno.ECANCELED],
      [1, -Errno.ECANCELED],
    ],
  );
  assert.deepEqual(
    lower.asked.map(({ operation }) => operation),
    [DiskOperation.READ],
  );
  assert.ok(disk.latch.take(0, 0), 'others may go on');
});

test('a request of which all has begun ends as it ends', () => {
  using disk = new ScriptedDisk();
  const { lower, done, channel } = disk;
  lower.results = [PENDING, PENDING];
  assert.equal(disk.start(3, DiskOperation.READ, 0, 2 * LANE_BYTES), PENDING);
  channel.abandon();
  lower.finish(0);
  assert.deepEqual(done, []);
  lower.finish(-Errno.ECANCELED);
  assert.deepEqual(done, [[3, -Errno.ECANCELED]]);
});

test('one request has a quarter of the memory at most, and goes on as its pieces end', () => {
  using disk = new ScriptedDisk();
  const { lower, done } = disk;
  const pieces = 40;
  lower.results = Array.from({ length: pieces + 1 }, () => PENDING);
  assert.equal(disk.start(0, DiskOperation.WRITE_ZEROES, 0, pieces * LANE_BYTES), PENDING);
  assert.equal(lower.pending, 32);
  assert.equal(disk.start(1, DiskOperation.READ, 0, 4096), PENDING);
  assert.equal(lower.pending, 33);
  lower.finish(0, 32);
  assert.deepEqual(done, [[1, 0]]);
  for (let piece = 0; piece < pieces; piece++) lower.finish(0);
  assert.equal(lower.asked.length, pieces + 1);
  assert.deepEqual(done, [
    [1, 0],
    [0, 0],
  ]);
});

test('a whole block waits for who changes it in part, and others do not', () => {
  using disk = new ScriptedDisk();
  const { lower, done } = disk;
  lower.results = [PENDING];
  assert.equal(disk.start(0, DiskOperation.WRITE, 512, 512), PENDING);
  assert.equal(disk.start(1, DiskOperation.WRITE, 2 * LANE_BYTES, 4096), 0, 'far away');
  assert.equal(disk.start(2, DiskOperation.WRITE, 0, 4096), PENDING);
  disk.turns();
  assert.deepEqual(done, []);
  assert.equal(lower.asked.length, 2);
  lower.finish(0);
  disk.turns();
  assert.deepEqual(done, [
    [0, 0],
    [2, 0],
  ]);
  assert.ok(disk.latch.take(0, 0) && disk.latch.isAlone(0, 1), 'nothing is left');
});

test('who changes a block in part waits for those that write it, and is let in', () => {
  using disk = new ScriptedDisk();
  const { lower, done } = disk;
  lower.results = [PENDING];
  assert.equal(disk.start(0, DiskOperation.WRITE, 0, 4096), PENDING);
  assert.equal(disk.start(1, DiskOperation.WRITE, 512, 512), PENDING);
  assert.equal(disk.start(2, DiskOperation.WRITE_ZEROES, 0, 4096), PENDING, 'after it');
  disk.turns();
  assert.equal(lower.asked.length, 1);
  lower.finish(0);
  disk.turns();
  assert.deepEqual(done, [
    [0, 0],
    [1, 0],
    [2, 0],
  ]);
});

test('who waits with the latch gives it back when it is given up', () => {
  using disk = new ScriptedDisk();
  const { lower, done, channel, latch } = disk;
  lower.results = [PENDING];
  assert.equal(disk.start(0, DiskOperation.WRITE, 0, 4096), PENDING);
  assert.equal(disk.start(1, DiskOperation.WRITE, 512, 512), PENDING);
  assert.ok(!latch.take(9, 9));
  channel.abandon();
  disk.turns();
  assert.deepEqual(done, [[1, -Errno.ECANCELED]]);
  assert.ok(latch.take(9, 9));
  lower.finish(0);
  assert.ok(latch.isAlone(0, 0));
});

test('what another thread has is waited for without blocking', () => {
  using disk = new ScriptedDisk();
  const { lower, done, latch } = disk;
  assert.ok(latch.take(0, 0));
  assert.equal(disk.start(0, DiskOperation.WRITE, 512, 512), PENDING);
  assert.equal(disk.start(1, DiskOperation.READ, 0, 4096), PENDING);
  disk.turns();
  assert.deepEqual(done, [[1, 0]], 'others go on');
  latch.release();
  disk.turns();
  assert.deepEqual(done, [
    [1, 0],
    [0, 0],
  ]);
  assert.deepEqual(
    lower.asked.map(({ offsetBytes }) => offsetBytes),
    [DATA_OFFSET, DATA_OFFSET, DATA_OFFSET],
  );
});
