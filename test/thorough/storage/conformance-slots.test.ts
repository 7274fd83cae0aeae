/** The conformance suite over the disks and filters that need no promises. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  concat,
  delay,
  error,
  memory,
  pattern,
  readonly,
  split,
  stats,
  throttle,
} from '../../../src/storage/index.ts';
import {
  type ConformancePlace,
  type ConformanceTraits,
  describeConformance,
  describeFilterConformance,
  zeros,
} from '../../support/disk-conformance.ts';

const IMAGE_BYTES = 2 ** 20;
const PIECE_BYTES = 98_304;
const MEMORY = { content: zeros, discard: 'zeros' } as const;

describeConformance('memory', () => memory(IMAGE_BYTES), MEMORY);

describeConformance('memory with what an image holds', (place) => memory({ file: ones(place) }), {
  discard: 'zeros',
  content: (_offset, bytes) => new Uint8Array(bytes).fill(1),
});

/** An image in a place, made if it is not there yet. */
function ones(place: ConformancePlace): string {
  const path = join(place.folder, 'image');
  if (!place.isUsed) writeFileSync(path, new Uint8Array(IMAGE_BYTES).fill(1));
  return path;
}

describeConformance('pattern', () => readonly(pattern(IMAGE_BYTES)), {
  readOnly: true,
  content: (offset, bytes) => {
    const content = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; at += 8) content.writeBigUInt64BE(BigInt(offset + at), at);
    return content;
  },
});

describeConformance(
  'concat',
  () => concat(memory(4096), memory(IMAGE_BYTES), memory(512), memory(12_288)),
  { ...MEMORY, info: { sizeBytes: IMAGE_BYTES + 4096 + 512 + 12_288 } },
);

describeConformance('split', (place) => split(pieces(place)), {
  isPersistent: true,
  content: zeros,
  discard: 'zeros-or-kept',
  info: { sizeBytes: IMAGE_BYTES },
});

/** Files of a disk in a place, the last of them shorter, made if they are not there yet. */
function pieces(place: ConformancePlace): string {
  const path = join(place.folder, 'disk');
  for (let at = 0; at < IMAGE_BYTES && !place.isUsed; at += PIECE_BYTES) {
    const bytes = Math.min(PIECE_BYTES, IMAGE_BYTES - at);
    writeFileSync(`${path}.${String(at / PIECE_BYTES).padStart(3, '0')}`, new Uint8Array(bytes));
  }
  return path;
}

const PASSING: ConformanceTraits = {
  isPersistent: true,
  showsLower: true,
  discard: 'zeros-or-kept',
};

describeFilterConformance('concat of one', (lower) => concat(lower), PASSING);

describeFilterConformance(
  'throttle',
  (lower) => throttle(lower, { iopsTotal: 2000, bpsTotal: 2 ** 28 }),
  PASSING,
);

describeFilterConformance(
  'delay',
  (lower) => delay(lower, { read: 0, write: 0.2, flush: 0.1, discard: 0, jitter: 0.5, seed: 1 }),
  PASSING,
);

describeFilterConformance('error that never comes', (lower) => error(lower, { rate: 0 }), PASSING);

describeFilterConformance('stats', (lower) => stats(lower), PASSING);

describeFilterConformance(
  'stats over throttle over delay',
  (lower) => stats(throttle(delay(lower, { write: 0.1 }), { iopsTotal: 5000 })),
  PASSING,
);
