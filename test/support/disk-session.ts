/**
 * A disk on a reactor of its own, driven by hand: a request is started and the reactor turned until
 * it is done, so that tests can be written like file I/O.
 */
import assert from 'node:assert/strict';
import {
  type Disk,
  type DiskChannel,
  DiskOperation,
  type DiskRequestHandler,
  DiskRequests,
} from '../../src/storage/index.ts';
import {
  createReactor,
  type EngineName,
  Mapping,
  PENDING,
  type Reactor,
} from '../../src/sys/index.ts';
import { missingEngine } from './reactors.ts';

const SLOTS = 16;
/** Memory for data, and where in it reads and writes put it unless told. */
const MEMORY_BYTES = 8 * 1024 * 1024;
const GRACE_MS = 20_000;

/** Engines with the reason to skip each, for `test`'s options. */
export const ENGINES: readonly { readonly engine: EngineName; readonly skip: string | false }[] = (
  ['io_uring', 'epoll'] as const
).map((engine) => ({ engine, skip: missingEngine(engine) ?? false }));

/** A part of the session's memory. */
export interface Piece {
  readonly at: number;
  readonly bytes: number;
}

/** What a request is about; fields that do not apply are left out. */
export interface Request {
  readonly operation: number;
  readonly offset?: number;
  /** Of DISCARD and WRITE_ZEROES. */
  readonly length?: number;
  readonly flags?: number;
  readonly pieces?: readonly Piece[];
}

/** Write down a request for a channel, whose pieces are parts of a mapping. */
export function fillSlot(
  requests: DiskRequests,
  slot: number,
  request: Request,
  mapping: Mapping,
): void {
  const { operation, offset = 0, length = 0, flags = 0, pieces = [] } = request;
  requests.operation[slot] = operation;
  requests.flags[slot] = flags;
  requests.offsetLow[slot] = offset | 0;
  requests.offsetHigh[slot] = (offset / 2 ** 32) | 0;
  requests.iovecs.clear(slot);
  let total = length;
  for (const { at, bytes } of pieces) {
    const address = mapping.address + at;
    assert.ok(requests.iovecs.push(slot, address | 0, (address / 2 ** 32) | 0, bytes));
    total += bytes;
  }
  requests.lengthBytes[slot] = total;
}

/** See the module's comment. */
export class DiskSession implements Disposable, DiskRequestHandler {
  readonly disk: Disk;
  /** Memory that pieces of requests are parts of; page-aligned. */
  readonly memory: Buffer;
  readonly #mapping = Mapping.anonymous(MEMORY_BYTES);
  readonly #reactor: Reactor;
  readonly #requests = new DiskRequests(SLOTS);
  readonly #channel: DiskChannel;
  readonly #results = new Map<number, number>();

  /** Takes the disk over. */
  constructor(disk: Disk, engine: EngineName) {
    this.disk = disk;
    this.memory = Buffer.from(this.#mapping.view(0, MEMORY_BYTES));
    this.#reactor = createReactor('blocking', engine).reactor;
    this.#channel = disk.openChannel(this.#reactor, this.#requests, this);
  }

  onDiskDone(slot: number, result: number): void {
    assert.ok(!this.#results.has(slot), 'a request is done once');
    this.#results.set(slot, result);
  }

  /** Do requests at the same time; their results in the same order. */
  runAll(requests: readonly Request[]): number[] {
    assert.ok(requests.length <= SLOTS);
    this.#results.clear();
    requests.forEach((request, slot) => {
      fillSlot(this.#requests, slot, request, this.#mapping);
      const result = this.#channel.start(slot);
      if (result !== PENDING) this.onDiskDone(slot, result);
    });
    const deadlineMs = performance.now() + GRACE_MS;
    const alarm = this.#reactor.after(GRACE_MS, () => {});
    while (this.#results.size < requests.length) {
      assert.ok(performance.now() < deadlineMs, 'a request is not done');
      if (!this.#reactor.turn()) this.#reactor.sleep();
    }
    alarm.cancel();
    return requests.map((_, slot) => this.#results.get(slot) ?? PENDING);
  }

  run(request: Request): number {
    return this.runAll([request])[0];
  }

  /** Read; what was read, or a negative errno. The rest of the memory is left as it was. */
  read(offset: number, bytes: number, at = 0): Buffer | number {
    const pieces = [{ at, bytes }];
    this.memory.fill(0xee, at, at + bytes);
    const result = this.run({ operation: DiskOperation.READ, offset, pieces });
    return result === 0 ? Buffer.from(this.memory.subarray(at, at + bytes)) : result;
  }

  /** Write; 0 or a negative errno. */
  write(offset: number, data: Uint8Array, flags = 0, at = 0): number {
    this.memory.set(data, at);
    const pieces = [{ at, bytes: data.length }];
    return this.run({ operation: DiskOperation.WRITE, offset, pieces, flags });
  }

  flush(): number {
    return this.run({ operation: DiskOperation.FLUSH });
  }

  discard(offset: number, length: number): number {
    return this.run({ operation: DiskOperation.DISCARD, offset, length });
  }

  writeZeroes(offset: number, length: number, flags = 0): number {
    return this.run({ operation: DiskOperation.WRITE_ZEROES, offset, length, flags });
  }

  [Symbol.dispose](): void {
    this.#channel.close();
    this.#reactor[Symbol.dispose]();
    void this.disk.close();
    this.#requests[Symbol.dispose]();
    this.#mapping.close();
  }
}
