/**
 * A disk next to a model of it, an array of bytes: random requests through an access, several at a
 * time, as promises.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { DiskAccess } from '../../src/storage/index.ts';

const SECTOR_BYTES = 512;

/** One random request. */
export interface AccessStep {
  readonly kind: 'read' | 'write' | 'zero' | 'unmap' | 'discard' | 'flush';
  readonly sector: number;
  readonly sectors: number;
  readonly isStable: boolean;
  readonly seed: number;
}

/** What may happen on a disk. */
export interface AccessStepOptions {
  readonly sizeBytes: number;
  readonly maxSectors: number;
  readonly batches: number;
}

function stepArbitrary({ sizeBytes, maxSectors }: AccessStepOptions): fc.Arbitrary<AccessStep> {
  return fc.record({
    kind: fc.constantFrom(
      ...(['read', 'read', 'write', 'write', 'write', 'write'] as const),
      ...(['zero', 'unmap', 'discard', 'flush'] as const),
    ),
    sector: fc.nat(sizeBytes / SECTOR_BYTES - 1),
    sectors: fc.oneof(
      fc.integer({ min: 1, max: 16 }),
      fc.integer({ min: 1, max: Math.min(maxSectors, sizeBytes / SECTOR_BYTES) }),
    ),
    isStable: fc.integer({ min: 0, max: 7 }).map((draw) => draw === 0),
    seed: fc.integer({ min: 1, max: 255 }),
  });
}

/** Random batches: the requests of one are under way at the same time and touch no sector twice. */
export function accessBatches(options: AccessStepOptions): fc.Arbitrary<AccessStep[][]> {
  const batch = fc.array(stepArbitrary(options), { minLength: 1, maxLength: 8, size: 'max' });
  return fc
    .array(batch, { minLength: 1, maxLength: options.batches, size: 'max' })
    .map((batches) => batches.map((steps) => withoutOverlap(steps, options.sizeBytes)));
}

function withoutOverlap(steps: readonly AccessStep[], sizeBytes: number): AccessStep[] {
  const taken: AccessStep[] = [];
  for (const step of steps) {
    const sectors = Math.min(step.sectors, sizeBytes / SECTOR_BYTES - step.sector);
    const isFree = taken.every(
      (other) =>
        other.sector + other.sectors <= step.sector || step.sector + sectors <= other.sector,
    );
    if (isFree) taken.push({ ...step, sectors });
  }
  return taken;
}

/** What a step writes. */
export function stepData({ sectors, seed }: AccessStep): Buffer {
  const data = Buffer.alloc(sectors * SECTOR_BYTES);
  for (let at = 0; at < data.length; at++) data[at] = (seed + at + (at >> 9)) & 0xff;
  return data;
}

/** What a discard does to the content. */
export type DiscardRule = (content: Buffer, start: number, end: number) => void;

/** See the module's comment. */
export class AccessModel {
  /** What the disk's content should be. */
  readonly content: Buffer;
  readonly #access: DiskAccess;
  readonly #discard: DiscardRule;

  constructor(access: DiskAccess, content: Buffer, discard: DiscardRule) {
    this.#access = access;
    this.content = content;
    this.#discard = discard;
  }

  /** Do a batch on the disk and on the model, and compare what was read. */
  async run(batch: readonly AccessStep[]): Promise<void> {
    const reads = new Map<AccessStep, Buffer>();
    const results = await Promise.allSettled(
      batch.map(async (step) => {
        await this.#start(step, reads);
      }),
    );
    const failed = results.find(({ status }) => status === 'rejected');
    if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
    for (const step of batch) {
      const start = step.sector * SECTOR_BYTES;
      const end = start + step.sectors * SECTOR_BYTES;
      if (step.kind === 'write') stepData(step).copy(this.content, start);
      if (step.kind === 'zero' || step.kind === 'unmap') this.content.fill(0, start, end);
      if (step.kind === 'discard') this.#discard(this.content, start, end);
    }
    for (const [step, found] of reads) {
      const start = step.sector * SECTOR_BYTES;
      assertSame(found, this.content.subarray(start, start + found.length), JSON.stringify(step));
    }
  }

  #start(step: AccessStep, reads: Map<AccessStep, Buffer>): void | Promise<void> {
    const access = this.#access;
    const offset = step.sector * SECTOR_BYTES;
    const length = step.sectors * SECTOR_BYTES;
    const options = { stable: step.isStable };
    switch (step.kind) {
      case 'read': {
        const buffer = Buffer.alloc(length, 0xee);
        reads.set(step, buffer);
        return access.read(buffer, offset);
      }
      case 'write':
        return access.write(stepData(step), offset, options);
      case 'zero':
        return access.writeZeroes(offset, length, options);
      case 'unmap':
        return access.writeZeroes(offset, length, { ...options, mayUnmap: true });
      case 'discard':
        return access.discard(offset, length, options);
      case 'flush':
        return access.flush();
    }
  }

  /** Compare all of it. */
  async check(): Promise<void> {
    const found = Buffer.alloc(this.content.length, 0xee);
    await this.#access.read(found, 0);
    assertSame(found, this.content, 'all');
  }
}

/** Fails with the first byte that differs. */
export function assertSame(actual: Buffer, expected: Buffer, about: string): void {
  if (actual.equals(expected)) return;
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  assert.fail(`byte ${at} is ${actual[at]}, not ${expected[at]}, in ${about}`);
}
