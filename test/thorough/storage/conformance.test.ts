/** The conformance suite over the disks that come with vhostkit. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  CACHE_MODES,
  type DiskLike,
  type DiskObject,
  file,
  moduleDisk,
  nullDisk,
  qcow2,
  readonly,
} from '../../../src/storage/index.ts';
import { createQcow2 } from '../../../src/storage/tools.ts';
import {
  type ConformancePlace,
  describeConformance,
  describeFilterConformance,
  zeros,
} from '../../support/disk-conformance.ts';
import { LabDisk } from '../../support/lab-disk.ts';
import {
  allMethods,
  delayed,
  memoryObject,
  passingObject,
  vectorMethods,
} from '../../support/memory-object.ts';
import { objectFilter } from '../../support/object-filter.ts';

const IMAGE_BYTES = 2 ** 20;

/** An image in a place, made if it is not there yet. */
function imageIn(place: ConformancePlace): string {
  const path = join(place.folder, 'image');
  if (!place.isUsed) writeFileSync(path, new Uint8Array(IMAGE_BYTES));
  return path;
}

for (const cache of CACHE_MODES) {
  describeConformance(`file, cache=${cache}`, (place) => file(imageIn(place), { cache }), {
    isPersistent: true,
    discard: 'zeros-or-kept',
    content: zeros,
    info: { sizeBytes: IMAGE_BYTES, writeBack: cache !== 'writethrough' },
  });
}

for (const [name, options, parameters] of [
  ['qcow2', {}, {}],
  ['qcow2, version 2, small clusters', { version: 2, clusterBytes: 512 }, {}],
  ['qcow2, tables written through', { clusterBytes: 4096 }, { tables: 'write-through' }],
] as const) {
  const make = async (place: ConformancePlace): Promise<DiskLike> => {
    const path = join(place.folder, 'image.qcow2');
    if (!place.isUsed) await createQcow2(path, { sizeBytes: IMAGE_BYTES, ...options });
    return qcow2(file(path), parameters);
  };
  describeConformance(name, make, {
    isPersistent: true,
    discard: 'zeros-or-kept',
    content: zeros,
    info: { sizeBytes: IMAGE_BYTES, canDiscard: true, canWriteZeroes: true, writeBack: true },
  });
}

describeConformance('null', () => nullDisk(2 ** 33), { keepsData: false });

describeFilterConformance('readonly', (lower) => readonly(lower), {
  readOnly: true,
  showsLower: true,
});

describeConformance('lab', () => new LabDisk({ content: Buffer.alloc(IMAGE_BYTES) }), {
  isOpen: true,
  content: zeros,
  discard: 'zeros',
});

const OBJECT_TRAITS = { content: zeros, discard: 'zeros', ordersRequests: true } as const;

/** An object over new memory. */
function newObject(
  ...methods: readonly ((memory: Uint8Array) => Partial<DiskObject>)[]
): DiskObject {
  const memory = new Uint8Array(IMAGE_BYTES);
  return Object.assign(memoryObject(memory), ...methods.map((each) => each(memory)));
}

describeConformance('object, synchronous', () => newObject(allMethods), {
  ...OBJECT_TRAITS,
  info: { canDiscard: true, canWriteZeroes: true, writeBack: true, logicalBlockBytes: 512 },
});

describeConformance('object with read and write alone', () => newObject(), {
  ...OBJECT_TRAITS,
  info: { canDiscard: false, canWriteZeroes: false, writeBack: false },
});

describeConformance('object that can only be read', () => ({ sizeBytes: 65536, read() {} }), {
  readOnly: true,
  keepsData: false,
});

describeConformance('object with delays', () => delayed(newObject(allMethods)), OBJECT_TRAITS);

describeConformance(
  'object with delays, memory in pieces, few at a time',
  () => ({ ...delayed(newObject(allMethods, vectorMethods)), maxConcurrency: 3 }),
  OBJECT_TRAITS,
);

describeConformance(
  'object with delays and a limit of time',
  () => ({ ...delayed(newObject(allMethods, vectorMethods)), timeoutMs: 60_000 }),
  OBJECT_TRAITS,
);

describeConformance(
  'object with blocks of 4096 bytes',
  () => ({ ...delayed(newObject(allMethods)), logicalBlockBytes: 4096, honoursStable: true }),
  { ...OBJECT_TRAITS, info: { logicalBlockBytes: 4096, physicalBlockBytes: 4096 } },
);

const MODULE = fileURLToPath(new URL('../../support/memory-module.js', import.meta.url));

describeConformance('module', () => moduleDisk(MODULE), OBJECT_TRAITS);

const PASSING_TRAITS = {
  isPersistent: true,
  showsLower: true,
  discard: 'zeros-or-kept',
  ordersRequests: true,
} as const;

describeFilterConformance(
  'module over a disk',
  (lower) => moduleDisk(MODULE, {}, [lower]),
  PASSING_TRAITS,
);

describeFilterConformance(
  'object with delays over a disk with blocks of 4096 bytes',
  (lower) => objectFilter(lower, (below) => delayed(passingObject(below))),
  { ...PASSING_TRAITS, lowerBlockBytes: 4096 },
);
