/**
 * Checks of filters over a disk whose requests fail: the error comes to whoever asked, all others
 * get what they asked for, and nothing is changed that was not to be.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Errno, errnoName } from '../../src/sys/index.ts';
import { modelOf } from './conformance-place.ts';
import {
  type FilterCheck,
  type FilterUnderTest,
  labDisk,
  withFilter,
} from './conformance-power-loss.ts';
import type { RequestKind } from './disk-model.ts';
import type { LabDisk, LabFaults } from './lab-disk.ts';
import { LoopGuard } from './loop-guard.ts';
import {
  ALL_KINDS,
  batchesArbitrary,
  ModelledAccess,
  type Outcome,
  type Step,
} from './modelled-access.ts';
import { seededRandom } from './power-loss.ts';
import { propertyOptions } from './property-options.ts';
import type { FileOperation } from './watched-file.ts';

const ERRORS = [Errno.EIO, Errno.ENOSPC] as const;

/** Random requests that are the same in each run of one seed. */
function sampled(modelled: ModelledAccess, seed: number, maxBatches: number): Step[][] {
  const { access, model } = modelled;
  const kinds: readonly RequestKind[] = access.info.readOnly ? ['read', 'flush'] : ALL_KINDS;
  const options = { kinds, maxBatches, mayOverlap: false };
  const arbitrary = batchesArbitrary(model, access.info, options);
  const chosen = propertyOptions(1).seed ?? 0;
  return fc.sample(arbitrary, { numRuns: 2, seed: seed + chosen }).flat();
}

/** Some requests of a certain number fail, from the n-th on. */
function nthFails(number: number, times: number, errno: number): LabFaults {
  let count = 0;
  return {
    resultOf: () => {
      const at = count++;
      return at >= number && at < number + times ? -errno : undefined;
    },
  };
}

/** A share of requests fails. */
function someFail(share: number, seed: number, errno: number): LabFaults {
  const random = seededRandom(seed);
  return { resultOf: () => (random() < share ? -errno : undefined) };
}

/** Requests fail that touch a range. */
function rangeFails(start: number, end: number, errno: number): LabFaults {
  return {
    resultOf: ({ kind, offset, bytes }: FileOperation) =>
      kind !== 'sync' && offset < end && offset + bytes > start ? -errno : undefined,
  };
}

/** What failed has failed for the reason that there was, and nothing failed without one. */
function checkOutcomes(
  outcomes: readonly Outcome[],
  failedBelow: number,
  errno: number,
  mustReach: boolean,
): void {
  const failed = outcomes.filter((outcome) => outcome !== undefined);
  for (const error of failed) {
    assert.equal((error as { code?: string }).code, errnoName(errno), error.message);
  }
  if (!mustReach) return;
  if (failedBelow === 0) assert.deepEqual(failed, [], 'nothing has failed below');
  else assert.ok(failed.length > 0, `${failedBelow} requests have failed below, and none above`);
}

interface FaultyRun {
  readonly faults: LabFaults;
  readonly errno: number;
  readonly seed: number;
}

async function runFaults(
  filter: FilterUnderTest,
  runs: readonly FaultyRun[],
  promptShare?: number,
): Promise<void> {
  const { traits } = filter;
  const lower = labDisk(traits, { seed: runs[0].seed });
  lower.promptShare = promptShare ?? lower.promptShare;
  await withFilter(filter, lower, async (access) => {
    const { info } = access;
    const model = modelOf(access, traits);
    const modelled = new ModelledAccess(access, model, traits.keepsData ?? true);
    if (!info.readOnly) await modelled.fill(1);
    for (const run of runs) await runOne(modelled, lower, run, traits.faults !== 'may-be-hidden');
  });
}

async function runOne(
  modelled: ModelledAccess,
  lower: LabDisk,
  { faults, errno, seed }: FaultyRun,
  mustReach: boolean,
): Promise<void> {
  lower.faults = faults;
  for (const batch of sampled(modelled, seed, 5)) {
    const before = lower.failed;
    const outcomes = await modelled.runFaulty(batch);
    checkOutcomes(outcomes, lower.failed - before, errno, mustReach);
  }
  lower.faults = undefined;
  await modelled.check('after faults');
  for (const batch of sampled(modelled, seed + 1, 3)) await modelled.run(batch);
  await modelled.check('later on');
}

/** See the module's comment. */
export const faultChecks: readonly FilterCheck[] = ERRORS.flatMap((errno) => {
  const name = errnoName(errno);
  return [
    {
      name: `the n-th request below fails with ${name}`,
      run: (filter: FilterUnderTest) => {
        const numbers = [0, 1, 2, 3, 5, 8, 13, 21, 34];
        return runFaults(
          filter,
          numbers.map((number) => ({
            faults: nthFails(number, number % 3 === 0 ? 2 : 1, errno),
            errno,
            seed: number,
          })),
        );
      },
    },
    {
      name: `a part of all requests below fails with ${name}`,
      run: (filter: FilterUnderTest) =>
        runFaults(
          filter,
          [0.05, 0.3, 1].map((share, seed) => ({
            faults: someFail(share, seed, errno),
            errno,
            seed,
          })),
        ),
    },
    {
      name: `requests below fail on the spot with ${name}`,
      run: async (filter: FilterUnderTest) => {
        using _ = new LoopGuard('requests that fail on the spot');
        await runFaults(
          filter,
          [0.1, 0.5, 1].map((share, seed) => ({
            faults: someFail(share, seed, errno),
            errno,
            seed,
          })),
          1,
        );
      },
    },
    {
      name: `requests below that touch a range fail with ${name}`,
      run: (filter: FilterUnderTest) => {
        const bytes = filter.traits.lowerBytes ?? 2 ** 20;
        return runFaults(
          filter,
          [1, 2].map((seed) => ({
            faults: rangeFails((bytes / 4) * seed, (bytes / 4) * seed + 65536, errno),
            errno,
            seed,
          })),
        );
      },
    },
  ];
});
