/**
 * What every disk and every filter has to do: one suite over all of them.
 *
 *     describeConformance('memory', () => memory(2 ** 20), { content: zeros });
 *     describeFilterConformance('stats', (lower) => stats(lower), { showsLower: true });
 *
 * Traits say what a kind does otherwise than others; what they claim is checked as well.
 */
import { suite, test } from 'node:test';
import { type DiskLike, file } from '../../src/storage/index.ts';
import { accessChecks } from './conformance-access.ts';
import { capabilityChecks } from './conformance-capabilities.ts';
import { faultChecks } from './conformance-faults.ts';
import { lifeChecks } from './conformance-life.ts';
import {
  type ConformancePlace,
  type ConformanceTraits,
  lowerImage,
  temporaryPlace,
} from './conformance-place.ts';
import { powerLossChecks } from './conformance-power-loss.ts';
import { servedChecks } from './conformance-served.ts';

export type { ConformancePlace, ConformanceTraits } from './conformance-place.ts';
/** What reads give where nothing was written. */
export { zeros } from './conformance-place.ts';

/** Gives the disk of a place: called again with the same place, it finds the same disk again. */
export type DiskFactory = (place: ConformancePlace) => DiskLike | Promise<DiskLike>;

/** The same, over a lower disk; perhaps in another place with the same lower disk. */
export type FilterFactory = (
  lower: DiskLike,
  place: ConformancePlace,
) => DiskLike | Promise<DiskLike>;

/** One thing that is checked. Rejects if it is not so. */
export interface ConformanceCheck {
  readonly name: string;
  run(): Promise<void>;
}

/** The checks of a disk. */
export function conformanceChecks(
  make: DiskFactory,
  traits: ConformanceTraits = {},
): ConformanceCheck[] {
  return [...accessChecks, ...capabilityChecks, ...lifeChecks, ...servedChecks]
    .filter(({ isFor }) => isFor?.(traits) ?? true)
    .map((check) => ({
      name: check.name,
      run: async () => {
        using place = temporaryPlace();
        await check.run({ place, traits, make: async () => make(place) });
      },
    }));
}

/** The checks of a filter: those of a disk, and of what it makes of the disk below. */
export function filterConformanceChecks(
  make: FilterFactory,
  traits: ConformanceTraits = {},
): ConformanceCheck[] {
  const overFile = (place: ConformancePlace): DiskLike | Promise<DiskLike> =>
    make(file(lowerImage(place, traits)), place);
  const overLab = [...powerLossChecks, ...faultChecks]
    .filter(({ isFor }) => isFor?.(traits) ?? true)
    .map((check) => ({ name: check.name, run: () => check.run({ make, traits }) }));
  return [...conformanceChecks(overFile, traits), ...overLab];
}

function describeChecks(name: string, checks: readonly ConformanceCheck[]): void {
  suite(`conformance of ${name}`, () => {
    for (const check of checks) test(check.name, () => check.run());
  });
}

/** See the module's comment. */
export function describeConformance(
  name: string,
  make: DiskFactory,
  traits?: ConformanceTraits,
): void {
  describeChecks(name, conformanceChecks(make, traits));
}

/** See the module's comment. The factory is given lower disks of `lowerBytes`. */
export function describeFilterConformance(
  name: string,
  make: FilterFactory,
  traits?: ConformanceTraits,
): void {
  describeChecks(name, filterConformanceChecks(make, traits));
}
