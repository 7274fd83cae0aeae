/**
 * One disk kept on two: everything is written to both, and read from the first. When a read from
 * the first fails, the second answers, so that a bad sector costs nothing but a line in the log.
 *
 *     vhost-user-blk --socket-path disk.sock --disk './tee-disk.ts(file(a.img), file(b.img))'
 */
import type { DiskAccess, DiskObject } from 'vhostkit';

export default function teeDisk(
  _parameters: object,
  first: DiskAccess,
  second: DiskAccess,
): DiskObject {
  const sizeBytes = Math.min(first.info.sizeBytes, second.info.sizeBytes);
  /** On both, at the same time; a write is done when it is done on both. */
  const onBoth = async (action: (disk: DiskAccess) => void | Promise<void>): Promise<void> => {
    await Promise.all([first, second].map(async (disk) => action(disk)));
  };

  return {
    sizeBytes,
    logicalBlockBytes: Math.max(first.info.logicalBlockBytes, second.info.logicalBlockBytes),
    description: 'one disk kept on two',

    async read(buffer, offset) {
      try {
        await first.read(buffer, offset);
      } catch (error) {
        console.error(`the first disk fails at ${offset}, the second answers: ${String(error)}`);
        await second.read(buffer, offset);
      }
    },
    write: (buffer, offset) => onBoth((disk) => disk.write(buffer, offset)),
    discard: (offset, length) => onBoth((disk) => disk.discard(offset, length)),
    writeZeroes: (offset, length, { mayUnmap }) =>
      onBoth((disk) => disk.writeZeroes(offset, length, { mayUnmap })),
    flush: () => onBoth((disk) => disk.flush()),
  };
}
