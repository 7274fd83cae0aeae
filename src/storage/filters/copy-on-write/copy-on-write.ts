/** The filter `copy-on-write`: a disk that is not changed, and an overlay that all writes go to. */
import { type DiskKind, type DiskLike, DiskPlan } from '../../plan/disk-kind.ts';
import { powerOfTwo, text } from '../../plan/parameter-types.ts';
import type { BlockLimits } from '../side-file/side-header.ts';

export const OVERLAY_KIND = 'copy-on-write';
/** Sizes that an overlay's blocks can have. */
export const OVERLAY_BLOCKS: BlockLimits = { minBytes: 4096, maxBytes: 2 ** 21 };

/** See the kind's parameters. */
export interface CopyOnWriteParameters {
  readonly overlay?: string;
  readonly block?: number;
}

/** See the module's comment. */
export const copyOnWriteKind: DiskKind<CopyOnWriteParameters> = {
  name: OVERLAY_KIND,
  summary: 'never writes the disk below: what is written goes to an overlay',
  below: 'one',
  parameters: {
    overlay: { type: text('path'), summary: 'the file that keeps what is written' },
    block: {
      type: powerOfTwo(OVERLAY_BLOCKS.minBytes, OVERLAY_BLOCKS.maxBytes),
      summary: 'bytes that are copied at a time',
    },
  },
  // Its modules are read only if there is one.
  open: async (context) => (await import('./open-copy-on-write.ts')).openCopyOnWrite(context),
};

/**
 * A disk whose writes go to an overlay, and never to `disk`. Without `overlay` they are gone when it
 * is closed. See `commitOverlay`.
 */
export function copyOnWrite(disk: DiskLike, parameters: CopyOnWriteParameters = {}): DiskPlan {
  return new DiskPlan(copyOnWriteKind, parameters, [disk]);
}
