/**
 * Checks of filters over a disk that loses its power: what was flushed, or stable, is there when the
 * filter is opened again over what is left.
 */
import assert from 'node:assert/strict';
import { type DiskAccess, openAccess, openDisk } from '../../src/storage/index.ts';
import { type ConformanceTraits, lowerBytes, temporaryPlace } from './conformance-place.ts';
import type { FilterFactory } from './disk-conformance.ts';
import { LabDisk } from './lab-disk.ts';
import { PowerLossRecorder, type Random, seededRandom } from './power-loss.ts';
import {
  FIRST_VALUE,
  PromisedSectors,
  type SectorChange,
  type SectorFlush,
  sectorsOf,
} from './promised-sectors.ts';
import { within } from './within.ts';

const SECTOR_BYTES = 512;
/** Of the disk above, so much is used. */
const USED_BYTES = 128 * 1024;
const BATCHES = 12;
const BATCH = 6;
const MOMENTS = 12;
const LOWER_BYTES: number = 2 ** 20;

/** A filter over a disk in memory. */
export interface FilterUnderTest {
  readonly make: FilterFactory;
  readonly traits: ConformanceTraits;
}

/** A check of filters. */
export interface FilterCheck {
  readonly name: string;
  readonly isFor?: (traits: ConformanceTraits) => boolean;
  run(filter: FilterUnderTest): Promise<void>;
}

/** The disk below, as it is before anything has been done with it. */
export function labDisk(
  traits: ConformanceTraits,
  options: { readonly seed: number; readonly isRecorded?: boolean },
): LabDisk {
  const content = lowerBytes(traits.lowerBytes ?? LOWER_BYTES, traits);
  const recorder = options.isRecorded === true ? new PowerLossRecorder(content) : undefined;
  const blockBytes = traits.lowerBlockBytes ?? SECTOR_BYTES;
  const { seed } = options;
  return new LabDisk({ content, seed, blockBytes, ...(recorder && { recorder }) });
}

/** Open the filter over a disk, use it, and close it. */
export async function withFilter(
  { make }: FilterUnderTest,
  lower: LabDisk,
  body: (access: DiskAccess) => Promise<void>,
): Promise<void> {
  using place = temporaryPlace();
  const disk = await openDisk(await make(lower, place));
  const access = openAccess(disk);
  await body(access);
  access.close();
  await disk.close();
  assert.equal(lower.pending, 0, 'requests are under way below a disk that is closed');
}

/** Requests that are noted with what they promise. */
class PromisingLoad {
  readonly promised = new PromisedSectors();
  readonly #access: DiskAccess;
  readonly #recorder: PowerLossRecorder;
  readonly #random: Random;
  readonly #unit: number;
  readonly #sectors: number;
  #value = FIRST_VALUE;

  constructor(access: DiskAccess, recorder: PowerLossRecorder, random: Random) {
    this.#access = access;
    this.#recorder = recorder;
    this.#random = random;
    this.#unit = access.info.logicalBlockBytes / SECTOR_BYTES;
    this.#sectors = usedBytes(access) / SECTOR_BYTES;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  /** Several requests at a time, none on what another is on. */
  async batch(): Promise<void> {
    const taken = new Set<number>();
    const ends = Array.from({ length: BATCH }, () =>
      this.#below(4) === 0 ? this.#flush() : this.#change(taken),
    );
    await within(Promise.all(ends), 'a batch');
  }

  async #flush(): Promise<void> {
    const flush: SectorFlush = this.#sent({});
    this.promised.flushes.push(flush);
    await this.#access.flush();
    flush.answeredAt = this.#recorder.moment();
  }

  #sent<Fields>(fields: Fields): Fields & { sentAt: number; answeredAt: number } {
    const sentAt = this.#recorder.moment();
    return { ...fields, sentAt, answeredAt: Number.POSITIVE_INFINITY };
  }

  async #change(taken: Set<number>): Promise<void> {
    const access = this.#access;
    const unit = this.#unit;
    const sector = this.#below(this.#sectors / unit) * unit;
    const sectors = Math.min((this.#below(16) + 1) * unit, this.#sectors - sector);
    const range = Array.from({ length: sectors }, (_, index) => sector + index);
    if (range.some((each) => taken.has(each))) return;
    for (const each of range) taken.add(each);
    this.#value += 1;
    const stable = this.#below(4) === 0;
    const isWriteThrough = stable || !access.info.writeBack;
    const kind = this.#below(4) === 0 ? 'zero' : 'write';
    const fields = { kind, value: this.#value, sector, sectors, isWriteThrough } as const;
    const change: SectorChange = this.#sent(fields);
    this.promised.changes.push(change);
    const offset = sector * SECTOR_BYTES;
    if (kind === 'write') {
      await access.write(sectorsOf(change.value, sectors), offset, { stable });
    } else await access.writeZeroes(offset, sectors * SECTOR_BYTES, { stable, mayUnmap: true });
    change.answeredAt = this.#recorder.moment();
  }
}

function usedBytes({ info }: DiskAccess): number {
  return Math.min(USED_BYTES, info.sizeBytes);
}

async function loseThePower(filter: FilterUnderTest, seed: number): Promise<void> {
  const { traits } = filter;
  const lower = labDisk(traits, { seed, isRecorded: true });
  const { recorder } = lower;
  assert.ok(recorder !== undefined);
  const random = seededRandom(seed);
  let promised = new PromisedSectors();
  let start = 0;
  let partBytes = SECTOR_BYTES;
  await withFilter(filter, lower, async (access) => {
    partBytes = access.info.logicalBlockBytes;
    await access.write(sectorsOf(FIRST_VALUE, usedBytes(access) / SECTOR_BYTES), 0);
    await access.flush();
    start = recorder.moment();
    const load = new PromisingLoad(access, recorder, random);
    promised = load.promised;
    for (let batch = 0; batch < BATCHES; batch++) await load.batch();
  });
  let count = 0;
  for (let round = 0; round < MOMENTS; round++) {
    const moment = start + Math.floor(random() * (recorder.now - start));
    const content = recorder.imageAt(moment, random, partBytes);
    const blockBytes = lower.info.logicalBlockBytes;
    await withFilter(filter, new LabDisk({ content, seed, blockBytes }), async (access) => {
      const image = Buffer.alloc(usedBytes(access));
      await access.read(image, 0);
      count += promised.check(image, moment);
    });
  }
  assert.ok(count > 0, 'nothing was promised');
}

/** See the module's comment. */
export const powerLossChecks: readonly FilterCheck[] = [
  {
    name: 'after a loss of power, what was flushed or stable is there',
    isFor: ({ readOnly, survivesPowerLoss, keepsData }) =>
      readOnly !== true && survivesPowerLoss !== false && keepsData !== false,
    run: async (filter) => {
      for (const seed of [1, 2, 3]) await loseThePower(filter, seed);
    },
  },
];
