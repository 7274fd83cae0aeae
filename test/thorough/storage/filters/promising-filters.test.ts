/** The conformance suite over the filters whose methods return promises. */
import { join } from 'node:path';
import { cache, checksum, copyOnWrite, log, snapshot } from '../../../../src/storage/index.ts';
import {
  type ConformancePlace,
  describeFilterConformance,
} from '../../../support/disk-conformance.ts';

const TRAITS = { showsLower: true, ordersRequests: true } as const;

function sideFile({ folder }: ConformancePlace): string {
  return join(folder, 'side');
}

for (const block of [4096, 65536]) {
  describeFilterConformance(
    `copy-on-write with blocks of ${block}`,
    (lower, place) => copyOnWrite(lower, { overlay: sideFile(place), block }),
    // All is in the overlay: what becomes of that in a crash has tests of its own.
    { ...TRAITS, isPersistent: true, discard: 'zeros-or-kept', survivesPowerLoss: false },
  );
}

describeFilterConformance('copy-on-write without a file', (lower) => copyOnWrite(lower), {
  ...TRAITS,
  discard: 'zeros-or-kept',
  survivesPowerLoss: false,
});

for (const mode of ['write-through', 'write-back'] as const) {
  for (const [name, size] of [
    ['small', 2 ** 17],
    ['large', 2 ** 22],
  ] as const) {
    describeFilterConformance(
      `cache, ${mode}, ${name}`,
      (lower) => cache(lower, { mode, size, block: 8192, readAhead: 65536 }),
      { ...TRAITS, isPersistent: true, discard: 'zeros-or-kept', faults: 'may-be-hidden' },
    );
  }
}

describeFilterConformance(
  'log',
  (lower, place) => log(lower, { file: join(place.folder, 'trace') }),
  { ...TRAITS, isPersistent: true, discard: 'zeros-or-kept' },
);

describeFilterConformance(
  'checksum',
  (lower, place) => checksum(lower, { file: sideFile(place) }),
  { ...TRAITS, isPersistent: true, discard: 'zeros-or-kept' },
);

describeFilterConformance(
  'snapshot',
  (lower, place) => snapshot(lower, { file: sideFile(place) }),
  { ...TRAITS, isPersistent: true, discard: 'zeros-or-kept' },
);
