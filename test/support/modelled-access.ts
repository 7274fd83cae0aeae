/** An open disk next to a model of it: random requests, many under way at the same time. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { DiskAccess, DiskInfo } from '../../src/storage/index.ts';
import type { DiskModel, RequestKind } from './disk-model.ts';
import { within } from './within.ts';

/** Most blocks of a request, but for those that are as large as can be. */
const MAX_BLOCKS = 40;
const MAX_REQUESTS = 12;

/** One request. */
export interface Step {
  readonly kind: RequestKind;
  /** Place in the model, and length; multiples of the block. */
  readonly at: number;
  readonly bytes: number;
  readonly stable: boolean;
  readonly mayUnmap: boolean;
  /** Where the buffer starts in its memory. */
  readonly skew: number;
  readonly seed: number;
}

/** How a request has ended: `undefined` is well. */
export type Outcome = Error | undefined;

/** A random request of a disk. */
function stepArbitrary(model: DiskModel, info: DiskInfo, kinds: readonly RequestKind[]) {
  const block = info.logicalBlockBytes;
  const blocks = fc.oneof(
    fc.integer({ min: 1, max: MAX_BLOCKS }),
    fc.constantFrom(1, Math.ceil(4096 / block), Math.ceil(65536 / block)),
  );
  return fc
    .record({
      kind: fc.constantFrom(...kinds),
      at: fc.nat(model.sizeBytes / block - 1).map((index) => index * block),
      bytes: blocks.map((count) => count * block),
      stable: fc.boolean(),
      mayUnmap: fc.boolean(),
      skew: fc.constantFrom(0, 0, 1, 512, 4095),
      seed: fc.integer({ min: 1, max: 2 ** 20 }),
    })
    .map((step): Step => ({ ...step, bytes: Math.min(step.bytes, model.roomAt(step.at)) }));
}

/** What may be in random batches. */
export interface BatchOptions {
  readonly kinds: readonly RequestKind[];
  readonly maxBatches: number;
  /** Requests of a batch may touch the same bytes. */
  readonly mayOverlap: boolean;
}

/** All kinds; those that change something, more than once. */
export const ALL_KINDS: readonly RequestKind[] = [
  'read',
  'read',
  'write',
  'write',
  'write',
  'zero',
  'discard',
  'flush',
];

/** Random batches of requests that are under way at the same time. */
export function batchesArbitrary(
  model: DiskModel,
  info: DiskInfo,
  { kinds, maxBatches, mayOverlap }: BatchOptions,
): fc.Arbitrary<Step[][]> {
  const step = stepArbitrary(model, info, kinds);
  const batch = fc.array(step, { maxLength: MAX_REQUESTS, size: 'max' });
  const batches = fc.array(batch, { maxLength: maxBatches, size: 'max' });
  return mayOverlap ? batches : batches.map((each) => each.map(withoutOverlap));
}

function withoutOverlap(steps: readonly Step[]): Step[] {
  const taken: Step[] = [];
  return steps.filter((step) => {
    const isFree = taken.every(
      ({ at, bytes }) => step.at + step.bytes <= at || at + bytes <= step.at,
    );
    if (isFree && step.kind !== 'flush') taken.push(step);
    return isFree;
  });
}

/** The data that a step writes: no sector of it is like another. */
export function dataOf({ bytes, seed }: Step): Uint8Array {
  const data = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at++) data[at] = (seed + at + (at >> 8) * 7 + (at >> 9) * seed) | 0;
  return data;
}

/** Who does the requests of a batch, and what is compared. */
export interface FaultyBatch {
  readonly model: DiskModel;
  /** The disk keeps what is written. */
  readonly canCompare: boolean;
  /** Requests that change nothing, and need not end well. */
  isIgnored?(kind: RequestKind): boolean;
  request(step: Step, index: number, memory: Uint8Array): void | Promise<void>;
}

/** Do a batch of which some may fail; none touches what another does. */
export async function runFaultyBatch(
  batch: readonly Step[],
  { model, canCompare, isIgnored = () => false, request }: FaultyBatch,
): Promise<Outcome[]> {
  const about = JSON.stringify(batch);
  const buffers = batch.map((step) => {
    const buffer = new Uint8Array(step.skew + step.bytes).subarray(step.skew);
    if (step.kind === 'write') buffer.set(dataOf(step));
    return buffer;
  });
  const ends = batch.map((step, index) =>
    outcomeOf(step.kind, () => request(step, index, buffers[index])),
  );
  const outcomes = await within(Promise.all(ends), about);
  batch.forEach(({ kind, at, bytes }, index) => {
    if (isIgnored(kind)) return;
    if (outcomes[index] !== undefined) model.failed(kind, at, bytes, buffers[index]);
    else if (kind !== 'read') model.done(kind, at, bytes, buffers[index]);
    else if (canCompare) readWell(model, at, buffers[index], about);
  });
  return outcomes;
}

async function outcomeOf(kind: RequestKind, request: () => void | Promise<void>): Promise<Outcome> {
  try {
    await request();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof Error, `${kind} fails with no error: ${String(error)}`);
    return error;
  }
}

function readWell(model: DiskModel, at: number, found: Uint8Array, about: string): void {
  model.expected(at, found.length).check(found, about);
  model.settle(at, found);
}

/** See the module's comment. */
export class ModelledAccess {
  readonly access: DiskAccess;
  readonly model: DiskModel;
  readonly #canCompare: boolean;

  /** @param canCompare - the disk keeps what is written. */
  constructor(access: DiskAccess, model: DiskModel, canCompare = true) {
    this.access = access;
    this.model = model;
    this.#canCompare = canCompare;
  }

  /** Do a batch, all of which must end well, in the order of its requests where they overlap. */
  async run(batch: readonly Step[]): Promise<void> {
    const about = JSON.stringify(batch);
    const checks: (() => void)[] = [];
    const ends = batch.map((step) => {
      const { kind, at, bytes, skew } = step;
      const buffer = new Uint8Array(skew + bytes).subarray(skew);
      if (kind === 'read') {
        buffer.fill(0xee);
        const expected = this.model.expected(at, bytes);
        checks.push(() => {
          if (this.#canCompare) expected.check(buffer, about);
        });
      } else if (kind === 'write') buffer.set(dataOf(step));
      const end = outcomeOf(kind, () => this.#request(step, buffer));
      if (!this.#isIgnored(kind)) this.model.done(kind, at, bytes, buffer);
      return end;
    });
    const outcomes = await within(Promise.all(ends), about);
    for (const outcome of outcomes) if (outcome !== undefined) throw outcome;
    for (const check of checks) check();
  }

  /** Do a batch of which some may fail; none touches what another does. */
  runFaulty(batch: readonly Step[]): Promise<Outcome[]> {
    return runFaultyBatch(batch, {
      model: this.model,
      canCompare: this.#canCompare,
      isIgnored: (kind) => this.#isIgnored(kind),
      request: (step, _index, memory) => this.#request(step, memory),
    });
  }

  /** Discarding does nothing on disks that cannot. */
  #isIgnored(kind: RequestKind): boolean {
    return kind === 'discard' && !this.access.info.canDiscard;
  }

  #request({ kind, at, bytes, stable, mayUnmap }: Step, buffer: Uint8Array): void | Promise<void> {
    const { access } = this;
    const offset = this.model.offsetOf(at);
    if (kind === 'read') return access.read(buffer, offset);
    if (kind === 'write') return access.write(buffer, offset, { stable });
    if (kind === 'zero') return access.writeZeroes(offset, bytes, { stable, mayUnmap });
    if (kind === 'discard') return access.discard(offset, bytes);
    return access.flush();
  }

  /** Read all of the model's range and compare. */
  async check(about: string): Promise<void> {
    for (const { at, bytes } of this.model.parts) {
      const found = new Uint8Array(bytes).fill(0xee);
      await within(Promise.resolve(this.access.read(found, this.model.offsetOf(at))), about);
      if (this.#canCompare) readWell(this.model, at, found, about);
    }
  }

  /** Give every sector a value of its own. */
  async fill(seed: number): Promise<void> {
    for (const { at, bytes } of this.model.parts) {
      const skew = 0;
      const flags = { stable: false, mayUnmap: false };
      await this.run([{ kind: 'write', at, bytes, skew, seed: seed + at, ...flags }]);
    }
  }
}
