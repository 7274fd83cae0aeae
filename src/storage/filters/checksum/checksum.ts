/** The filter `checksum`: finds what a disk has changed by itself. */
import { type DiskKind, type DiskLike, DiskPlan } from '../../plan/disk-kind.ts';
import { powerOfTwo, text } from '../../plan/parameter-types.ts';
import type { BlockLimits } from '../side-file/side-header.ts';

export const CHECKSUM_KIND = 'checksum';
/** Bytes that can have one checksum. */
export const CHECKSUM_BLOCKS: BlockLimits = { minBytes: 4096, maxBytes: 65536 };

/** See the kind's parameters. */
export interface ChecksumParameters {
  readonly file: string;
  readonly block?: number;
}

/** See the module's comment. */
export const checksumKind: DiskKind<ChecksumParameters> = {
  name: CHECKSUM_KIND,
  summary: 'finds blocks that the disk below has changed by itself',
  below: 'one',
  parameters: {
    file: { type: text('path'), summary: 'the file that has the checksums', isRequired: true },
    block: {
      type: powerOfTwo(CHECKSUM_BLOCKS.minBytes, CHECKSUM_BLOCKS.maxBytes),
      summary: 'bytes that have one checksum',
    },
  },
  // Its modules are read only if there is one.
  open: async (context) => (await import('./open-checksum.ts')).openChecksum(context),
};

/** A disk whose blocks are compared with checksums in `parameters.file`. */
export function checksum(disk: DiskLike, parameters: ChecksumParameters): DiskPlan {
  return new DiskPlan(checksumKind, parameters, [disk]);
}
