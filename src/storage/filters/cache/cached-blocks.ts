/**
 * Blocks of a disk in memory: which are there, which of their units hold data, which of these have to
 * be written, and which block was used the longest ago. Memory and numbers only; nothing here waits.
 */

/** What is known of a unit, as bits. */
const VALID = 1;
const DIRTY = 2;
/** It is being read; what comes is taken if nothing else has become of it by then. */
const FETCHING = 4;

/** Memory is taken from the system in chunks, as it is needed. */
const CHUNK_BYTES = 2 ** 24;

export interface CachedBlocksOptions {
  /** How many blocks there is room for. */
  readonly slots: number;
  /** Powers of two; a unit is the smallest that requests touch. */
  readonly blockBytes: number;
  readonly unitBytes: number;
}

/** Slots in the order of their use: a ring of links, in which the list itself is one, too. */
class UseOrder {
  readonly #before: Int32Array;
  readonly #after: Int32Array;

  /** @param lists - they are the numbers behind the slots. */
  constructor(slots: number, lists: number) {
    this.#before = Int32Array.from({ length: slots + lists }, (_, index) => index);
    this.#after = this.#before.slice();
  }

  /** Put a slot to the end of a list. */
  append(slot: number, list: number): void {
    const before = this.#before;
    const after = this.#after;
    after[before[slot]] = after[slot];
    before[after[slot]] = before[slot];
    before[slot] = before[list];
    after[slot] = list;
    after[before[slot]] = slot;
    before[list] = slot;
  }

  /** The slot after another one; the list itself behind the last. */
  next(slot: number): number {
    return this.#after[slot];
  }
}

/** See the module's comment. */
export class CachedBlocks {
  readonly slots: number;
  readonly blockBytes: number;
  readonly unitBytes: number;
  readonly #unitsPerBlock: number;
  readonly #slotsPerChunk: number;
  readonly #chunks: Uint8Array[] = [];
  readonly #units: Uint8Array;
  readonly #slotOf = new Map<number, number>();
  readonly #blockOf: Float64Array;
  readonly #pins: Uint16Array;
  /** Dirty units of each slot. */
  readonly #dirtyUnits: Uint16Array;
  /** Slots that are in the list of dirty ones. */
  readonly #isListedDirty: Uint8Array;
  readonly #order: UseOrder;
  readonly #clean: number;
  readonly #dirty: number;
  #used = 0;
  #dirtySlots = 0;

  constructor({ slots, blockBytes, unitBytes }: CachedBlocksOptions) {
    this.slots = slots;
    this.blockBytes = blockBytes;
    this.unitBytes = unitBytes;
    this.#unitsPerBlock = blockBytes / unitBytes;
    this.#slotsPerChunk = Math.max(1, CHUNK_BYTES / blockBytes);
    this.#units = new Uint8Array(slots * this.#unitsPerBlock);
    this.#blockOf = new Float64Array(slots);
    this.#pins = new Uint16Array(slots);
    this.#dirtyUnits = new Uint16Array(slots);
    this.#isListedDirty = new Uint8Array(slots);
    this.#order = new UseOrder(slots, 2);
    this.#clean = slots;
    this.#dirty = slots + 1;
  }

  /** The slot of a block; -1: it is in none. */
  find(block: number): number {
    return this.#slotOf.get(block) ?? -1;
  }

  /** Give a block a slot: an unused one, or that of the clean block unused for longest. -1: none. */
  take(block: number): number {
    const slot = this.#used < this.slots ? this.#used++ : this.#oldestClean();
    if (slot === -1) return -1;
    if (this.#slotOf.get(this.#blockOf[slot]) === slot) this.#slotOf.delete(this.#blockOf[slot]);
    this.#slotOf.set(block, slot);
    this.#blockOf[slot] = block;
    const start = slot * this.#unitsPerBlock;
    this.#units.fill(0, start, start + this.#unitsPerBlock);
    this.#order.append(slot, this.#clean);
    return slot;
  }

  #oldestClean(): number {
    const list = this.#clean;
    for (let slot = this.#order.next(list); slot !== list; slot = this.#order.next(slot)) {
      if (this.#pins[slot] === 0) return slot;
    }
    return -1;
  }

  /** The dirty block that was unused for longest; -1: none is dirty. */
  oldestDirty(): number {
    const slot = this.#order.next(this.#dirty);
    return slot === this.#dirty ? -1 : this.#blockOf[slot];
  }

  get dirtySlots(): number {
    return this.#dirtySlots;
  }

  get usedSlots(): number {
    return this.#slotOf.size;
  }

  /** The numbers of all dirty blocks, in order. */
  dirtyBlocks(): number[] {
    const blocks: number[] = [];
    const list = this.#dirty;
    for (let slot = this.#order.next(list); slot !== list; slot = this.#order.next(slot)) {
      blocks.push(this.#blockOf[slot]);
    }
    return blocks.sort((first, second) => first - second);
  }

  /** Keep a slot for its block until `unpin`. */
  pin(slot: number): void {
    this.#pins[slot] += 1;
  }

  unpin(slot: number): void {
    this.#pins[slot] -= 1;
  }

  isDirty(slot: number): boolean {
    return this.#dirtyUnits[slot] > 0;
  }

  /** A slot is used now. */
  touch(slot: number): void {
    this.#order.append(slot, this.isDirty(slot) ? this.#dirty : this.#clean);
  }

  /** The memory of a slot, from an offset within its block. */
  bytes(slot: number, start: number, length: number): Uint8Array {
    const chunk = Math.floor(slot / this.#slotsPerChunk);
    const memory = this.#chunks[chunk] ?? this.#addChunk(chunk);
    const at = (slot % this.#slotsPerChunk) * this.blockBytes + start;
    return memory.subarray(at, at + length);
  }

  #addChunk(chunk: number): Uint8Array {
    const left = this.slots - chunk * this.#slotsPerChunk;
    const memory = new Uint8Array(Math.min(left, this.#slotsPerChunk) * this.blockBytes);
    this.#chunks[chunk] = memory;
    return memory;
  }

  /** Whether all units of a range in a block hold data. Bytes. */
  isValid(slot: number, start: number, length: number): boolean {
    const end = this.#unitAt(slot, start + length);
    for (let unit = this.#unitAt(slot, start); unit < end; unit++) {
      if ((this.#units[unit] & VALID) === 0) return false;
    }
    return true;
  }

  #unitAt(slot: number, start: number): number {
    return slot * this.#unitsPerBlock + start / this.unitBytes;
  }

  /** Units hold data now, of which the disk below knows, or is to be told. */
  setValid(slot: number, start: number, length: number, isDirty: boolean): void {
    const end = this.#unitAt(slot, start + length);
    for (let unit = this.#unitAt(slot, start); unit < end; unit++) {
      const wasDirty = (this.#units[unit] & DIRTY) !== 0;
      this.#units[unit] = isDirty || wasDirty ? VALID | DIRTY : VALID;
      if (isDirty && !wasDirty) this.#dirtyUnits[slot] += 1;
    }
    this.#file(slot);
  }

  /** Forget units. They are not dirty. */
  drop(slot: number, start: number, length: number): void {
    this.#units.fill(0, this.#unitAt(slot, start), this.#unitAt(slot, start + length));
  }

  /** The units of a block that hold nothing are being read. */
  beginFetch(slot: number): void {
    const end = this.#unitAt(slot, this.blockBytes);
    for (let unit = this.#unitAt(slot, 0); unit < end; unit++) {
      if ((this.#units[unit] & VALID) === 0) this.#units[unit] = FETCHING;
    }
  }

  /** A block was read: take what is still wanted of it. `undefined`: it could not be read. */
  endFetch(slot: number, data: Uint8Array | undefined): void {
    const end = this.#unitAt(slot, this.blockBytes);
    for (let unit = this.#unitAt(slot, 0), at = 0; unit < end; unit++, at += this.unitBytes) {
      if (this.#units[unit] !== FETCHING) continue;
      const isThere = data !== undefined && at < data.length;
      this.#units[unit] = isThere ? VALID : 0;
      if (isThere) {
        this.bytes(slot, at, this.unitBytes).set(data.subarray(at, at + this.unitBytes));
      }
    }
  }

  /** The ranges of dirty units in a block, which count as clean from now on. Bytes within it. */
  takeDirty(slot: number): { start: number; length: number }[] {
    const ranges: { start: number; length: number }[] = [];
    const first = this.#unitAt(slot, 0);
    for (let index = 0; index < this.#unitsPerBlock; index++) {
      if ((this.#units[first + index] & DIRTY) === 0) continue;
      this.#units[first + index] &= ~DIRTY;
      const start = index * this.unitBytes;
      const last = ranges.at(-1);
      if (last !== undefined && last.start + last.length === start) last.length += this.unitBytes;
      else ranges.push({ start, length: this.unitBytes });
    }
    this.#dirtyUnits[slot] = 0;
    this.#file(slot);
    return ranges;
  }

  /** Have a slot in the list it belongs to. */
  #file(slot: number): void {
    const isDirty = this.isDirty(slot);
    if (isDirty !== (this.#isListedDirty[slot] === 1)) {
      this.#dirtySlots += isDirty ? 1 : -1;
      this.#isListedDirty[slot] = isDirty ? 1 : 0;
    }
    this.#order.append(slot, isDirty ? this.#dirty : this.#clean);
  }
}
