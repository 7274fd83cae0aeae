/**
 * The data path of joined disks: a request goes to the disk it lies in. One that crosses a border
 * goes to one disk after the other; a flush to all at once.
 *
 * The disks share a table of requests of their own: a slot is at work in one of them at a time, but
 * for flushes, of which they only read that they are some.
 */
import { Errno, PENDING, type Reactor } from '../../sys/index.ts';
import type { Disk, DiskChannel, DiskRequestHandler } from '../disk.ts';
import { DiskOperation, DiskRequests } from '../disk-requests.ts';

/** See the module's comment. */
export class JoinedChannel implements DiskChannel, DiskRequestHandler {
  readonly #requests: DiskRequests;
  readonly #handler: DiskRequestHandler;
  /** As the disks below see the requests. */
  readonly #inner: DiskRequests;
  readonly #channels: readonly DiskChannel[];
  /** Where each disk ends. */
  readonly #ends: Float64Array;
  /** By slot: the disk that a request is at, and where it goes on after that. */
  readonly #part: Uint16Array;
  readonly #nextOffset: Float64Array;
  readonly #end: Float64Array;
  /** By slot: flushes under way, and what one of them gave. */
  readonly #flushes: Uint16Array;
  readonly #flushResult: Int32Array;
  #isAbandoned = false;

  constructor(
    parts: readonly Disk[],
    reactor: Reactor,
    requests: DiskRequests,
    handler: DiskRequestHandler,
  ) {
    const { slots } = requests;
    this.#requests = requests;
    this.#handler = handler;
    this.#inner = new DiskRequests(slots);
    this.#channels = openChannels(parts, reactor, this.#inner, this);
    let end = 0;
    this.#ends = Float64Array.from(parts, ({ info }) => {
      end += info.sizeBytes;
      return end;
    });
    this.#part = new Uint16Array(slots);
    this.#nextOffset = new Float64Array(slots);
    this.#end = new Float64Array(slots);
    this.#flushes = new Uint16Array(slots);
    this.#flushResult = new Int32Array(slots);
  }

  start(slot: number): number {
    const requests = this.#requests;
    const operation = requests.operation[slot];
    this.#inner.operation[slot] = operation;
    this.#inner.flags[slot] = requests.flags[slot];
    if (operation === DiskOperation.FLUSH) return this.#flush(slot);
    const offset = requests.offsetBytes(slot);
    this.#nextOffset[slot] = offset;
    this.#end[slot] = offset + requests.lengthBytes[slot];
    this.#part[slot] = this.#partAt(offset);
    return this.#goOn(slot);
  }

  onDiskDone(slot: number, result: number): void {
    if (this.#inner.operation[slot] === DiskOperation.FLUSH) {
      this.#flushes[slot] -= 1;
      if (result !== 0) this.#flushResult[slot] = result;
      if (this.#flushes[slot] === 0) this.#handler.onDiskDone(slot, this.#flushResult[slot]);
      return;
    }
    this.#part[slot] += 1;
    const next = result === 0 ? this.#goOn(slot) : result;
    if (next !== PENDING) this.#handler.onDiskDone(slot, next);
  }

  /** The disk that an offset lies in: the first one that ends behind it. */
  #partAt(offset: number): number {
    const ends = this.#ends;
    let low = 0;
    let high = ends.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (offset < ends[middle]) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Start what is left in one disk after the other, as long as each is done at once. */
  #goOn(slot: number): number {
    while (this.#nextOffset[slot] < this.#end[slot]) {
      // Of what has been abandoned nothing more is started.
      if (this.#isAbandoned) return -Errno.ECANCELED;
      const result = this.#startPart(slot);
      if (result !== 0) return result;
      this.#part[slot] += 1;
    }
    return 0;
  }

  #startPart(slot: number): number {
    const inner = this.#inner;
    const part = this.#part[slot];
    const start = this.#nextOffset[slot];
    const end = Math.min(this.#end[slot], this.#ends[part]);
    const offset = part === 0 ? start : start - this.#ends[part - 1];
    inner.offsetLow[slot] = offset | 0;
    inner.offsetHigh[slot] = (offset / 2 ** 32) | 0;
    inner.lengthBytes[slot] = end - start;
    this.#nextOffset[slot] = end;
    if (inner.operation[slot] <= DiskOperation.WRITE) this.#moveMemory(slot, end - start);
    return this.#channels[part].start(slot);
  }

  /** Move the next `bytes` of a request's memory to the inner table. */
  #moveMemory(slot: number, bytes: number): void {
    const from = this.#requests.iovecs;
    const to = this.#inner.iovecs;
    to.clear(slot);
    for (let left = bytes; left > 0 && from.remaining(slot) > 0; ) {
      const at = from.firstWord(slot);
      const length = from.words[at + 2] >>> 0;
      const used = Math.min(length, left);
      to.push(slot, from.words[at], from.words[at + 1], used);
      left -= used;
      if (length === 0) from.first[slot] += 1;
      else from.advance(slot, used);
    }
  }

  /** Each of them: one that has no volatile cache of its own was not told to write through one. */
  #flush(slot: number): number {
    this.#flushResult[slot] = 0;
    this.#inner.lengthBytes[slot] = 0;
    let pending = 0;
    for (let part = 0; part < this.#channels.length; part++) {
      const result = this.#channels[part].start(slot);
      if (result === PENDING) pending += 1;
      else if (result !== 0) this.#flushResult[slot] = result;
    }
    this.#flushes[slot] = pending;
    return pending === 0 ? this.#flushResult[slot] : PENDING;
  }

  abandon(): void {
    this.#isAbandoned = true;
    for (const channel of this.#channels) channel.abandon?.();
  }

  hasten(nobodyWaits: boolean): void {
    for (const channel of this.#channels) channel.hasten?.(nobodyWaits);
  }

  close(): void {
    for (const channel of this.#channels) channel.close();
    this.#inner[Symbol.dispose]();
  }
}

/** All of them, or none. */
function openChannels(
  parts: readonly Disk[],
  reactor: Reactor,
  requests: DiskRequests,
  handler: DiskRequestHandler,
): readonly DiskChannel[] {
  const channels: DiskChannel[] = [];
  try {
    for (const part of parts) channels.push(part.openChannel(reactor, requests, handler));
  } catch (error) {
    for (const channel of channels) channel.close();
    requests[Symbol.dispose]();
    throw error;
  }
  return channels;
}
