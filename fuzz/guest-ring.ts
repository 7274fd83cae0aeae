/**
 * A ring driven by hand, field by field: it offers what it is told to, and nothing keeps it from
 * overwriting what the device has under way.
 */
import { DescriptorFlag, PackedFlag } from '../src/virtqueue/index.ts';
import { type RingPlace, ringPlace } from './geometry.ts';
import type { GuestMemory } from './guest-memory.ts';

/** A descriptor as a case wants it. */
export interface GuestDescriptor {
  readonly address: bigint;
  readonly length: number;
  /** NEXT is added where the chain goes on. */
  readonly flags: number;
}

export type GuestRingFormat = 'split' | 'packed';

/** Where a field of a descriptor is, and its bytes; a packed one has `id` before its flags. */
const FIELDS: Readonly<
  Record<GuestRingFormat, Readonly<Record<string, readonly [at: number, bytes: number]>>>
> = {
  split: { address: [0, 8], length: [8, 4], flags: [12, 2], next: [14, 2] },
  packed: { address: [0, 8], length: [8, 4], next: [12, 2], flags: [14, 2] },
};
const DESCRIPTOR_BYTES = 16;
const RING_REGION = 0;

/** See the module's comment. */
export class GuestRing {
  readonly place: RingPlace;
  readonly format: GuestRingFormat;
  readonly size: number;
  readonly #memory: GuestMemory;
  /** Split: of the descriptor table. Packed: of the ring, going round twice. */
  #next = 0;
  #availableIndex = 0;
  #lastHead = 0;

  /** Clears the ring's memory. */
  constructor(memory: GuestMemory, queue: number, format: GuestRingFormat, size: number) {
    this.place = ringPlace(queue);
    this.format = format;
    this.size = Math.max(1, size);
    this.#memory = memory;
    memory.fill(RING_REGION, this.place.descriptors, this.place.end, 0);
    if (format === 'split') {
      memory.fill(RING_REGION, this.place.available + 4, this.place.used, 0xff);
    }
  }

  /** Where a field of a descriptor is in the first region, and its bytes. */
  field(index: number, name: string): { readonly offset: number; readonly bytes: number } {
    const [at, bytes] = FIELDS[this.format][name === 'id' ? 'next' : name] ?? [0, 8];
    return { offset: this.place.descriptors + index * DESCRIPTOR_BYTES + at, bytes };
  }

  setField(index: number, name: string, value: bigint): void {
    const { offset, bytes } = this.field(index, name);
    this.#memory.setNumber(RING_REGION, offset, bytes, value);
  }

  /** Where the driver stands: the available index, or the offset in a packed ring. */
  get index(): number {
    return this.format === 'split' ? this.#availableIndex : this.#next % this.size;
  }

  /** Go on from another index, as one does after a stop. */
  set index(value: number) {
    this.#availableIndex = value & 0xffff;
    this.#next = value % (2 * this.size);
  }

  /** The head of the last chain offered. */
  get lastHead(): number {
    return this.#lastHead;
  }

  /** Offer a chain. */
  push(chain: readonly GuestDescriptor[]): void {
    if (this.format === 'split') this.#pushSplit(chain);
    else this.#pushPacked(chain);
  }

  #write(index: number, { address, length }: GuestDescriptor, next: number): void {
    this.setField(index, 'address', address);
    this.setField(index, 'length', BigInt(length));
    this.setField(index, 'next', BigInt(next));
  }

  #pushSplit(chain: readonly GuestDescriptor[]): void {
    const head = this.#next % this.size;
    chain.forEach((descriptor, count) => {
      const index = (head + count) % this.size;
      const isLast = count === chain.length - 1;
      this.#write(index, descriptor, isLast ? 0 : (index + 1) % this.size);
      const next = isLast ? 0 : DescriptorFlag.NEXT;
      this.setField(index, 'flags', BigInt(descriptor.flags | next));
    });
    this.#next = (head + chain.length) % this.size;
    this.offer(head);
  }

  #pushPacked(chain: readonly GuestDescriptor[]): void {
    const start = this.#next;
    this.#lastHead = start % this.size;
    // From the end: the first one makes the chain available.
    for (let count = chain.length - 1; count >= 0; count--) {
      const position = (start + count) % (2 * this.size);
      const owner = position < this.size ? PackedFlag.AVAIL : PackedFlag.USED;
      const next = count === chain.length - 1 ? 0 : DescriptorFlag.NEXT;
      this.#write(position % this.size, chain[count], this.#lastHead);
      this.setField(position % this.size, 'flags', BigInt(chain[count].flags | next | owner));
    }
    this.#next = (start + chain.length) % (2 * this.size);
  }

  /** Split: put a head on the available ring. Packed: nothing, descriptors speak for themselves. */
  offer(head: number): void {
    this.#lastHead = head;
    if (this.format === 'packed') return;
    const { available } = this.place;
    const at = available + 4 + (this.#availableIndex % this.size) * 2;
    this.#memory.setU16(RING_REGION, at, head);
    this.publish(this.#availableIndex + 1);
  }

  /** Say that the available index is this. */
  publish(index: number): void {
    this.#availableIndex = index & 0xffff;
    this.#memory.setU16(RING_REGION, this.place.available + 2, this.#availableIndex);
  }

  /** Whether the device seems to have used all that was offered. */
  get isSettled(): boolean {
    if (this.format === 'split') {
      return this.#memory.getU16(RING_REGION, this.place.used + 2) === this.#availableIndex;
    }
    const { offset } = this.field(this.#lastHead, 'flags');
    const flags = this.#memory.getU16(RING_REGION, offset);
    return ((flags & PackedFlag.AVAIL) !== 0) === ((flags & PackedFlag.USED) !== 0);
  }
}
