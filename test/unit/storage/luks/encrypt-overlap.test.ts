/**
 * Writes of the same blocks that are under way together, in two queues, over a disk that does them in
 * any order: each sector ends as one of those that wrote it would have it, and no write of another
 * sector of its block may bring back what was there.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type DiskChannel,
  DiskOperation,
  type DiskRequestHandler,
  DiskRequests,
} from '../../../../src/storage/index.ts';
import { cipherSpec } from '../../../../src/storage/luks/cipher-spec.ts';
import { EncryptChannel } from '../../../../src/storage/luks/encrypt-channel.ts';
import { openSectorCipher } from '../../../../src/storage/luks/sector-cipher.ts';
import { SharedLatch } from '../../../../src/storage/luks/shared-latch.ts';
import { ZeroPiece } from '../../../../src/storage/luks/zero-piece.ts';
import { bufferAddress, createReactor, Mapping, PENDING } from '../../../../src/sys/index.ts';
import { propertyOptions } from '../../../support/property-options.ts';

const SECTOR_BYTES = 512;
const BLOCK_BYTES = 4096;
const SECTORS = 32;
const DISK_BYTES = SECTORS * SECTOR_BYTES;
const SLOTS = 12;
const INITIAL = 0xee;

/** Transfers of both queues that wait to be done. */
class Transfers {
  readonly content: Buffer = Buffer.alloc(DISK_BYTES);
  readonly #waiting: (() => void)[] = [];

  get count(): number {
    return this.#waiting.length;
  }

  /** For `EncryptChannel`. */
  readonly open = (requests: DiskRequests, handler: DiskRequestHandler): DiskChannel => ({
    start: (slot) => {
      this.#waiting.push(() => {
        const address = bufferAddress(this.content) + requests.offsetBytes(slot);
        const length = requests.lengthBytes[slot];
        const isRead = requests.operation[slot] === DiskOperation.READ;
        if (isRead) requests.iovecs.scatter(slot, address, length);
        else requests.iovecs.gather(slot, address, length);
        handler.onDiskDone(slot, 0);
      });
      return PENDING;
    },
    close: () => {},
  });

  /** Do one of them. */
  finish(index: number): void {
    const [transfer] = this.#waiting.splice(index % this.#waiting.length, 1);
    transfer();
  }
}

/** One queue. */
class Queue implements Disposable {
  pending = 0;
  readonly #reactor = createReactor('blocking', 'epoll').reactor;
  readonly #memory = Mapping.anonymous(SLOTS * DISK_BYTES);
  readonly #view = new Uint8Array(this.#memory.view(0, SLOTS * DISK_BYTES));
  readonly #requests = new DiskRequests(SLOTS);
  readonly #zeros = new ZeroPiece();
  readonly #channel: EncryptChannel;

  constructor(latch: SharedLatch, transfers: Transfers) {
    const data = {
      cipher: openSectorCipher(cipherSpec('aes-xts-plain64', 64), KEY, BLOCK_BYTES),
      ...{ sectorBytes: BLOCK_BYTES, blockBytes: BLOCK_BYTES, dataOffset: 0, firstNumber: 0 },
      ...{ latch, zeros: this.#zeros },
    };
    const handler: DiskRequestHandler = { onDiskDone: (_slot, result) => this.#note(result) };
    this.#channel = new EncryptChannel(
      this.#reactor,
      this.#requests,
      handler,
      data,
      transfers.open,
    );
  }

  #note(result: number): void {
    assert.equal(result, 0);
    this.pending -= 1;
  }

  /** @returns the request's memory. */
  start(slot: number, operation: number, sector: number, count: number, value = 0): Uint8Array {
    const requests = this.#requests;
    const length = count * SECTOR_BYTES;
    const bytes = this.#view.subarray(slot * DISK_BYTES, slot * DISK_BYTES + length);
    bytes.fill(value);
    requests.operation[slot] = operation;
    requests.flags[slot] = 0;
    requests.offsetLow[slot] = sector * SECTOR_BYTES;
    requests.offsetHigh[slot] = 0;
    requests.lengthBytes[slot] = length;
    requests.iovecs.clear(slot);
    const address = this.#memory.address + slot * DISK_BYTES;
    requests.iovecs.push(slot, address | 0, (address / 2 ** 32) | 0, length);
    this.pending += 1;
    const result = this.#channel.start(slot);
    if (result !== PENDING) this.#note(result);
    return bytes;
  }

  turn(): void {
    this.#reactor.turn();
  }

  [Symbol.dispose](): void {
    this.#channel.close();
    this.#reactor[Symbol.dispose]();
    this.#requests[Symbol.dispose]();
    this.#zeros.close();
    this.#memory.close();
  }
}

const KEY = Buffer.from(Array.from({ length: 64 }, (_, index) => index));

/** Let all that is under way end, in an order that is given. */
function finishAll(queues: readonly Queue[], transfers: Transfers, order: readonly number[]): void {
  for (let step = 0; queues.some(({ pending }) => pending > 0); step++) {
    // What waits for others comes with its timer.
    if (transfers.count > 0) transfers.finish(order[step % order.length]);
    for (const queue of queues) queue.turn();
  }
}

const writeArbitrary = fc
  .record({
    queue: fc.nat(1),
    isZeroing: fc.boolean(),
    sector: fc.nat(SECTORS - 1),
    count: fc.integer({ min: 1, max: 24 }),
    isWhole: fc.boolean(),
  })
  .map(({ sector, count, isWhole, ...rest }) => {
    const perBlock = BLOCK_BYTES / SECTOR_BYTES;
    const first = isWhole ? sector - (sector % perBlock) : sector;
    const wanted = isWhole ? Math.ceil(count / perBlock) * perBlock : count;
    return { ...rest, first, count: Math.min(wanted, SECTORS - first) };
  });

test('writes of the same blocks at the same time lose nothing of each other', () => {
  fc.assert(
    fc.property(
      fc.array(writeArbitrary, { minLength: 2, maxLength: 8 }),
      fc.array(fc.nat(20), { minLength: 1, maxLength: 30 }),
      (writes, order) => {
        const transfers = new Transfers();
        const latch = new SharedLatch();
        using one = new Queue(latch, transfers);
        using other = new Queue(latch, transfers);
        const queues = [one, other];
        one.start(0, DiskOperation.WRITE, 0, SECTORS, INITIAL);
        finishAll(queues, transfers, order);
        const possible = Array.from({ length: SECTORS }, () => new Set<number>());
        writes.forEach(({ queue, isZeroing, first, count }, index) => {
          const value = isZeroing ? 0 : index + 1;
          const operation = isZeroing ? DiskOperation.WRITE_ZEROES : DiskOperation.WRITE;
          queues[queue].start(index, operation, first, count, value);
          for (let at = first; at < first + count; at++) possible[at].add(value);
        });
        finishAll(queues, transfers, order);
        const found = one.start(0, DiskOperation.READ, 0, SECTORS);
        finishAll(queues, transfers, order);
        possible.forEach((values, sector) => {
          const at = sector * SECTOR_BYTES;
          const bytes = found.subarray(at, at + SECTOR_BYTES);
          assert.ok(
            bytes.every((byte) => byte === bytes[0]),
            `sector ${sector} is of one write`,
          );
          const allowed = values.size === 0 ? [INITIAL] : [...values];
          assert.ok(allowed.includes(bytes[0]), `sector ${sector}: ${bytes[0]} of ${allowed}`);
        });
        assert.ok(latch.take(0, 1) && latch.isAlone(0, 1), 'nothing is left');
      },
    ),
    propertyOptions(300),
  );
});
