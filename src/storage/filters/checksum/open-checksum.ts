/** Opens disks whose blocks are compared with checksums. */
import { existsSync } from 'node:fs';
import type { Disk } from '../../disk.ts';
import { StorageError } from '../../errors.ts';
import type { OpenContext } from '../../plan/disk-kind.ts';
import { openOverSide } from '../side-file/open-over-side.ts';
import { openScratchDisk, openSideDisk } from '../side-file/side-disk.ts';
import { CHECKSUM_KIND, type ChecksumParameters } from './checksum.ts';
import { CHECKSUM_BLOCK_BYTES, checksumFileBytes, openChecksums } from './checksum-file.ts';
import { ChecksumObject } from './checksum-object.ts';

/** See the kind. */
export async function openChecksum(context: OpenContext<ChecksumParameters>): Promise<Disk> {
  const { parameters, options, openBelow } = context;
  const { file: path, block } = parameters;
  const below = await openBelow(0);
  const readOnly = (options.readOnly ?? false) || below.info.readOnly;
  const { sizeBytes, logicalBlockBytes } = below.info;
  if (block !== undefined && block < logicalBlockBytes) {
    const problem = `block is ${block}: the disk below has blocks of ${logicalBlockBytes}`;
    throw new StorageError('DISK_OPTION', `${CHECKSUM_KIND}: ${problem}`);
  }
  const blockBytes = block ?? Math.max(CHECKSUM_BLOCK_BYTES, logicalBlockBytes);
  const bytes = checksumFileBytes(sizeBytes, blockBytes);
  // Where nothing is known yet, and nothing is to be made, there is nothing to compare with.
  const side =
    readOnly && !existsSync(path)
      ? openScratchDisk(bytes)
      : openSideDisk(path, bytes, { ...options, readOnly });
  return openOverSide(
    below,
    side,
    async (disk, file) => {
      const parts = await openChecksums(file, disk, { blockBytes: block, path });
      const { doubtfulRegions } = parts.intents;
      const doubt = doubtfulRegions === 0 ? '' : `, ${doubtfulRegions} regions in doubt`;
      const what = `checksums of blocks of ${parts.blockBytes} bytes are in ${path}`;
      return new ChecksumObject(parts, `${what}${doubt}`);
    },
    { kind: CHECKSUM_KIND, readOnly },
  );
}
