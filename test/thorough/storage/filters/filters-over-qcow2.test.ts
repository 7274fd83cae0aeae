/**
 * The conformance suite over filters whose disk below is in a qcow2 image: a disk that is no file,
 * gets requests done in an order of its own, and allocates. Of its checks those that do much.
 */
import { join } from 'node:path';
import { suite, test } from 'node:test';
import {
  cache,
  checksum,
  concat,
  copyOnWrite,
  delay,
  encrypt,
  error,
  log,
  readonly,
  snapshot,
  stats,
  throttle,
} from '../../../../src/storage/index.ts';
import { formatLuks } from '../../../../src/storage/tools.ts';
import {
  type ConformancePlace,
  type ConformanceTraits,
  type FilterFactory,
  filterConformanceChecks,
} from '../../../support/disk-conformance.ts';
import {
  inQcow2,
  QCOW2_DISK_BYTES,
  QCOW2_LOWER_BYTES,
  qcow2Content,
  qcow2Image,
  shownImage,
} from '../../../support/disk-in-qcow2.ts';
import { PASSPHRASE } from '../../../support/luks-image.ts';

/** Of all filters. */
const CHECKS = [
  'random requests',
  'served over vhost-user',
  'a part of all requests below fails with EIO',
];
/** And of those that do more than to pass requests on. */
const MORE_CHECKS = [
  'a new disk holds',
  'requests that touch the same bytes',
  'what was written is there',
  'after a loss of power',
  'a part of all requests below fails with ENOSPC',
];

const QCOW2: ConformanceTraits = {
  lowerBytes: QCOW2_LOWER_BYTES,
  isPersistent: true,
  discard: 'zeros-or-kept',
  faults: 'may-be-hidden',
  info: { sizeBytes: QCOW2_DISK_BYTES },
};

interface OverQcow2Traits extends ConformanceTraits {
  /** Default: one with `qcow2Content`. */
  readonly image?: Uint8Array;
  readonly isThorough?: boolean;
}

const plainImage = await shownImage();

function describeOverQcow2(
  name: string,
  make: FilterFactory,
  { image = plainImage, isThorough = false, ...traits }: OverQcow2Traits,
): void {
  const overQcow2: FilterFactory = async (lower, place) => make(await inQcow2(lower, image), place);
  const starts = isThorough ? [...CHECKS, ...MORE_CHECKS] : CHECKS;
  suite(`conformance of ${name} over qcow2`, () => {
    for (const check of filterConformanceChecks(overQcow2, { ...QCOW2, ...traits })) {
      const isChosen = starts.some((start) => check.name.startsWith(start));
      if (isChosen) test(check.name, () => check.run());
    }
  });
}

function sideFile({ folder }: ConformancePlace): string {
  return join(folder, 'side');
}

/** Of filters that show what is below. */
const SHOWN: OverQcow2Traits = { content: qcow2Content };
/** Of those with promises. */
const ORDERED: OverQcow2Traits = { ...SHOWN, ordersRequests: true, isThorough: true };

describeOverQcow2('nothing', (lower) => lower, { ...SHOWN, isThorough: true });

describeOverQcow2('readonly', (lower) => readonly(lower), { ...SHOWN, readOnly: true });

describeOverQcow2('concat', (lower) => concat(lower), SHOWN);

describeOverQcow2('throttle', (lower) => throttle(lower, { iopsTotal: 2000 }), SHOWN);

describeOverQcow2(
  'delay',
  (lower) => delay(lower, { write: 0.2, flush: 0.1, jitter: 0.5, seed: 1 }),
  SHOWN,
);

describeOverQcow2('error', (lower) => error(lower, { rate: 0 }), SHOWN);

describeOverQcow2('stats', (lower) => stats(lower), SHOWN);

describeOverQcow2(
  'copy-on-write',
  (lower, place) => copyOnWrite(lower, { overlay: sideFile(place), block: 16_384 }),
  { ...ORDERED, survivesPowerLoss: false },
);

for (const mode of ['write-through', 'write-back'] as const) {
  describeOverQcow2(
    `cache, ${mode}`,
    (lower) => cache(lower, { mode, size: 2 ** 18, block: 8192, readAhead: 65536 }),
    ORDERED,
  );
}

describeOverQcow2(
  'log',
  (lower, place) => log(lower, { file: join(place.folder, 'trace') }),
  ORDERED,
);

describeOverQcow2(
  'checksum',
  (lower, place) => checksum(lower, { file: sideFile(place) }),
  ORDERED,
);

describeOverQcow2(
  'snapshot',
  (lower, place) => snapshot(lower, { file: sideFile(place) }),
  ORDERED,
);

const KEY = { passphrase: PASSPHRASE };
const LUKS_HEADER_BYTES = 2 ** 21;
const luksImage = await qcow2Image(LUKS_HEADER_BYTES + QCOW2_DISK_BYTES, (disk) =>
  formatLuks(disk, { ...KEY, version: 1, iterations: 1000 }),
);

describeOverQcow2('encrypt', (lower) => encrypt(lower, { ...KEY, allowDiscards: true }), {
  image: luksImage,
  lowerBytes: 2 * QCOW2_LOWER_BYTES,
  discard: 'anything',
});
