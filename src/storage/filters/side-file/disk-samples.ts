/**
 * What tells a disk from another of its size: checksums of a few places. Costs as many reads, and is
 * no proof.
 */
import { crc32 } from 'node:zlib';
import type { DiskAccess } from '../../access/disk-access.ts';
import { settleAll } from '../../settle-all.ts';

export const SAMPLES = 8;
const SAMPLE_BYTES = 4096;

/** What is looked at. */
export type SampledDisk = Pick<DiskAccess, 'info' | 'read'>;

/** Where a disk is looked at. Bytes. */
export function samplePlaces(disk: SampledDisk): { offset: number; length: number }[] {
  const { sizeBytes, logicalBlockBytes } = disk.info;
  const unit = Math.max(SAMPLE_BYTES, logicalBlockBytes);
  const units = Math.max(1, Math.floor(sizeBytes / unit));
  return Array.from({ length: SAMPLES }, (_, index) => ({
    offset: Math.floor(((units - 1) * index) / (SAMPLES - 1)) * unit,
    length: Math.min(unit, sizeBytes),
  }));
}

/** The checksums of `samplePlaces`. Fails as reading does. */
export async function sampleDisk(disk: SampledDisk): Promise<number[]> {
  const places = samplePlaces(disk).map(({ offset, length }) => ({
    offset,
    buffer: new Uint8Array(length),
  }));
  await settleAll(
    places.map(
      ({ offset, buffer }) =>
        () =>
          disk.read(buffer, offset),
    ),
  );
  return places.map(({ buffer }) => crc32(buffer));
}
