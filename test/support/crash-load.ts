/**
 * Random requests on a disk that may crash, several at a time, and what it has promised of each
 * sector.
 */
import type { Disk, DiskAccess } from '../../src/storage/index.ts';
import { openAccess } from '../../src/storage/index.ts';
import type { CrashClock } from './crashing-disk.ts';
import type { Random } from './power-loss.ts';
import { PromisedSectors, type SectorChange, sectorsOf } from './promised-sectors.ts';

const SECTOR_BYTES = 512;

export interface CrashLoadOptions {
  readonly clock: CrashClock;
  readonly random: Random;
  readonly requests: number;
  /** Of the first request, from 2 on; default: 2. */
  readonly firstValue?: number;
  /** Most sectors of a request. */
  readonly maxSectors: number;
  /** A process that ends loses nothing that was answered: for disks that promise that. */
  readonly isProcessSafe: boolean;
}

/** Do requests on a disk; what it has promised for the power to go, and for its process to end. */
export async function loadDisk(
  disk: Disk,
  options: CrashLoadOptions,
): Promise<{ power: PromisedSectors; process: PromisedSectors }> {
  const { clock, random, requests, maxSectors, firstValue = 2 } = options;
  const access = openAccess(disk);
  const power = new PromisedSectors();
  const process = new PromisedSectors();
  const diskSectors = disk.info.sizeBytes / SECTOR_BYTES;
  const request = async (value: number): Promise<void> => {
    const kind = random();
    if (kind < 0.15) {
      const flush = { sentAt: clock.tick(), answeredAt: Number.POSITIVE_INFINITY };
      power.flushes.push(flush);
      process.flushes.push(flush);
      await access.flush();
      flush.answeredAt = clock.tick();
      return;
    }
    const sector = Math.floor(random() * diskSectors);
    const sectors = Math.min(diskSectors - sector, 1 + Math.floor(random() * maxSectors));
    const change: SectorChange = {
      ...{ value, sector, sectors, isWriteThrough: false },
      kind: kind < 0.7 ? 'write' : kind < 0.85 ? 'zero' : 'discard',
      sentAt: clock.tick(),
      answeredAt: Number.POSITIVE_INFINITY,
    };
    const forProcess = { ...change, isWriteThrough: options.isProcessSafe };
    power.changes.push(change);
    process.changes.push(forProcess);
    await submit(access, change);
    change.answeredAt = clock.tick();
    forProcess.answeredAt = change.answeredAt;
  };
  for (let value = firstValue; value < requests + firstValue; ) {
    const batch: Promise<void>[] = [];
    for (let size = 1 + Math.floor(random() * 5); size > 0; size--) batch.push(request(value++));
    await Promise.all(batch);
  }
  access.close();
  return { power, process };
}

async function submit(access: DiskAccess, change: SectorChange): Promise<void> {
  const { kind, value, sector, sectors } = change;
  const [offset, length] = [sector * SECTOR_BYTES, sectors * SECTOR_BYTES];
  if (kind === 'write') await access.write(sectorsOf(value, sectors), offset);
  else if (kind === 'zero') await access.writeZeroes(offset, length, { mayUnmap: true });
  else await access.discard(offset, length);
}

/** All of a disk. */
export async function contentOf(disk: Disk): Promise<Buffer> {
  const access = openAccess(disk);
  const content = Buffer.alloc(disk.info.sizeBytes);
  await access.read(content, 0);
  access.close();
  return content;
}
