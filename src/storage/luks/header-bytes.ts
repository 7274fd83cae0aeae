/** Bytes of a disk by any offset, for headers: requests have to be whole blocks. */
import type { DiskAccess } from '../access/disk-access.ts';
import { StorageError } from '../errors.ts';

/** Read a range. Rejects with a `StorageError` DISK_FORMAT if the disk ends before its end. */
export async function readRange(
  access: DiskAccess,
  offset: number,
  length: number,
): Promise<Buffer> {
  const sizeBytes = access.currentSizeBytes();
  if (offset + length > sizeBytes) {
    throw new StorageError(
      'DISK_FORMAT',
      `LUKS: the disk of ${sizeBytes} bytes ends before its header or its keys do`,
    );
  }
  const { start, bytes } = wholeBlocks(access, offset, length);
  const buffer = Buffer.alloc(bytes);
  await access.read(buffer, start);
  return buffer.subarray(offset - start, offset - start + length);
}

/** Write a range; what else is in its blocks stays. */
export async function writeRange(
  access: DiskAccess,
  offset: number,
  data: Uint8Array,
): Promise<void> {
  const { start, bytes } = wholeBlocks(access, offset, data.length);
  const buffer = Buffer.alloc(bytes);
  if (bytes !== data.length) await access.read(buffer, start);
  buffer.set(data, offset - start);
  await access.write(buffer, start);
}

function wholeBlocks(
  { info }: DiskAccess,
  offset: number,
  length: number,
): { start: number; bytes: number } {
  const block = info.logicalBlockBytes;
  const start = offset - (offset % block);
  return { start, bytes: Math.ceil((offset + length - start) / block) * block };
}
