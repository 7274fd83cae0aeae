/** Opens disks with overlays. */
import { existsSync } from 'node:fs';
import type { Disk } from '../../disk.ts';
import { StorageError } from '../../errors.ts';
import type { OpenContext } from '../../plan/disk-kind.ts';
import { openOverSide } from '../side-file/open-over-side.ts';
import { openScratchDisk, openSideDisk } from '../side-file/side-disk.ts';
import { type CopyOnWriteParameters, OVERLAY_KIND } from './copy-on-write.ts';
import { CopyOnWriteObject } from './copy-on-write-object.ts';
import { defaultBlockBytes, Overlay, overlayBytes } from './overlay.ts';

/** See the kind. */
export async function openCopyOnWrite(context: OpenContext<CopyOnWriteParameters>): Promise<Disk> {
  const { parameters, options, openBelow } = context;
  const { block } = parameters;
  const readOnly = options.readOnly ?? false;
  // What is only read needs no overlay that has nothing.
  const overlay = readOnly && isMissing(parameters.overlay) ? undefined : parameters.overlay;
  const below = await openBelow(0, { readOnly: true });
  const { sizeBytes, logicalBlockBytes } = below.info;
  const newBlock = block ?? defaultBlockBytes(below);
  if (newBlock < logicalBlockBytes) {
    const problem = `block is ${newBlock}: the disk below has blocks of ${logicalBlockBytes}`;
    throw new StorageError('DISK_OPTION', `${OVERLAY_KIND}: ${problem}`);
  }
  const bytes = overlayBytes(sizeBytes, newBlock);
  const side =
    overlay === undefined ? openScratchDisk(bytes) : openSideDisk(overlay, bytes, options);
  return openOverSide(
    below,
    side,
    async (base, file) => {
      const opened =
        overlay === undefined
          ? Overlay.scratch(file, base, newBlock)
          : await Overlay.open(file, base, block, overlay);
      return new CopyOnWriteObject(base, opened, describe(overlay, opened));
    },
    { kind: OVERLAY_KIND, readOnly, needsOutside: undefined },
  );
}

function isMissing(path: string | undefined): boolean {
  return path !== undefined && !existsSync(path);
}

function describe(path: string | undefined, { blockBytes, map, isCommitting }: Overlay): string {
  const { data, zero } = map.count();
  const where = path === undefined ? 'a file that is thrown away at the end' : path;
  const holds = `${data + zero} of ${map.blocks} blocks of ${blockBytes} bytes`;
  const state = isCommitting ? ', its commit was interrupted: commit it again' : '';
  return `writes go to ${where}, which has ${holds}${state}`;
}
