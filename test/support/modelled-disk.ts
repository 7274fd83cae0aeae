/**
 * A disk next to a model of it, an array of bytes: random requests, several at a time, on random
 * pieces of memory.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DiskFlag, DiskOperation } from '../../src/storage/index.ts';
import type { DiskSession, Piece, Request } from './disk-session.ts';

const SECTOR_BYTES = 512;
/** Memory of one request: its data, and the gaps between its pieces. */
const PART_BYTES = 65536;
const MAX_SECTORS = 40;

/** One random request. */
interface Step {
  readonly kind: 'read' | 'write' | 'zero' | 'discard' | 'flush';
  readonly sector: number;
  readonly sectors: number;
  readonly flags: number;
  /** Where its memory starts, from a page boundary. */
  readonly skew: number;
  /** Lengths of its pieces; the last one takes the rest. */
  readonly cuts: readonly number[];
  readonly seed: number;
}

/** What may happen on a disk. */
export interface StepOptions {
  readonly sizeBytes: number;
  /** Sectors a request starts at and is a multiple of; 1 unless given. */
  readonly blockSectors?: number;
  /** Discarded data reads as zeros, as in files; on block devices it may be anything. */
  readonly discardZeroes: boolean;
}

function stepArbitrary(options: StepOptions): fc.Arbitrary<Step> {
  const { sizeBytes, blockSectors = 1, discardZeroes } = options;
  const unit = blockSectors;
  const kinds = ['read', 'read', 'write', 'write', 'write', 'zero', 'flush'] as const;
  return fc.record({
    kind: discardZeroes ? fc.constantFrom(...kinds, 'discard' as const) : fc.constantFrom(...kinds),
    sector: fc.nat(sizeBytes / SECTOR_BYTES / unit - 1).map((block) => block * unit),
    sectors: fc.integer({ min: 1, max: MAX_SECTORS / unit }).map((blocks) => blocks * unit),
    flags: fc.constantFrom(0, 0, DiskFlag.STABLE, DiskFlag.UNMAP, DiskFlag.STABLE | DiskFlag.UNMAP),
    skew: fc.oneof(fc.constant(0), fc.constant(512), fc.nat(5000)),
    cuts: fc.oneof(
      fc.constant([]),
      fc.array(fc.constantFrom(512, 4096), { maxLength: 4 }),
      fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 4 }),
    ),
    seed: fc.integer({ min: 1, max: 255 }),
  });
}

/** Random batches: the requests of one are under way at the same time and touch no sector twice. */
export function batchesArbitrary(options: StepOptions): fc.Arbitrary<Step[][]> {
  const batch = fc.array(stepArbitrary(options), { maxLength: 6, size: 'max' });
  return fc
    .array(batch, { maxLength: 8, size: 'max' })
    .map((batches) => batches.map((steps) => withoutOverlap(steps, options)));
}

function withoutOverlap(steps: readonly Step[], { sizeBytes }: StepOptions): Step[] {
  const taken = new Set<number>();
  return steps.filter(({ sector, sectors }) => {
    if ((sector + sectors) * SECTOR_BYTES > sizeBytes) return false;
    const range = Array.from({ length: sectors }, (_, index) => sector + index);
    if (range.some((each) => taken.has(each))) return false;
    for (const each of range) taken.add(each);
    return true;
  });
}

/** The pieces of memory of the step with a number, in order. */
function piecesOf(step: Step, number: number): Piece[] {
  const pieces: Piece[] = [];
  let left = step.sectors * SECTOR_BYTES;
  let at = number * PART_BYTES + step.skew;
  for (const cut of [...step.cuts, left]) {
    const bytes = Math.min(cut, left);
    if (bytes === 0) break;
    pieces.push({ at, bytes });
    left -= bytes;
    at += bytes + (step.skew % 3) * 512;
  }
  return pieces;
}

function dataOf(step: Step): Buffer {
  const data = Buffer.alloc(step.sectors * SECTOR_BYTES);
  for (let at = 0; at < data.length; at++) data[at] = (step.seed + at + (at >> 8)) & 0xff;
  return data;
}

/** See the module's comment. */
export class ModelledDisk {
  /** What the disk's content should be. */
  readonly content: Buffer;
  readonly #session: DiskSession;

  /** @param content - what the disk holds. */
  constructor(session: DiskSession, content: Buffer) {
    this.#session = session;
    this.content = content;
  }

  /** Do a batch on the disk and on the model, and compare what was read. */
  run(batch: readonly Step[]): void {
    const requests = batch.map((step, index) => this.#request(step, index));
    const results = this.#session.runAll(requests);
    assert.deepEqual(results, new Array(batch.length).fill(0), JSON.stringify(batch));
    batch.forEach((step, index) => {
      const start = step.sector * SECTOR_BYTES;
      const end = start + step.sectors * SECTOR_BYTES;
      if (step.kind === 'write') dataOf(step).copy(this.content, start);
      if (step.kind === 'zero' || step.kind === 'discard') this.content.fill(0, start, end);
      if (step.kind !== 'read') return;
      const { memory } = this.#session;
      const parts = piecesOf(step, index).map(({ at, bytes }) => memory.subarray(at, at + bytes));
      assertSame(Buffer.concat(parts), this.content.subarray(start, end), step);
    });
  }

  /** Compare all of it. */
  check(): void {
    const read = this.#session.read(0, this.content.length);
    assert.ok(Buffer.isBuffer(read), `read: ${String(read)}`);
    assertSame(read, this.content, 'all');
  }

  #request(step: Step, index: number): Request {
    const offset = step.sector * SECTOR_BYTES;
    const length = step.sectors * SECTOR_BYTES;
    const { flags } = step;
    const pieces = piecesOf(step, index);
    const { memory } = this.#session;
    const stable = flags & DiskFlag.STABLE;
    switch (step.kind) {
      case 'read':
        memory.fill(0xee, index * PART_BYTES, (index + 1) * PART_BYTES);
        return { operation: DiskOperation.READ, offset, pieces };
      case 'write': {
        const data = dataOf(step);
        let done = 0;
        for (const { at, bytes } of pieces) done += data.copy(memory, at, done, done + bytes);
        return { operation: DiskOperation.WRITE, offset, pieces, flags: stable };
      }
      case 'zero':
        return { operation: DiskOperation.WRITE_ZEROES, offset, length, flags };
      case 'discard':
        return { operation: DiskOperation.DISCARD, offset, length };
      case 'flush':
        return { operation: DiskOperation.FLUSH };
    }
  }
}

function assertSame(actual: Buffer, expected: Buffer, about: unknown): void {
  if (actual.equals(expected)) return;
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  const [got, wanted] = [actual[at], expected[at]];
  assert.fail(`byte ${at} is ${got}, not ${wanted}, in ${JSON.stringify(about)}`);
}
