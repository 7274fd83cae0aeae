/**
 * A disk that a file system is tested on: now and then a request fails, or takes its time, and in
 * the end the power goes, with everything lost that was not flushed.
 *
 *     vhost-user-blk --socket-path disk.sock --disk './flaky-disk.ts(file(disk.img), errors=0.001)'
 *
 * Parameters: `errors` and `slow`, the part of all requests that fail or take `delay-ms` longer;
 * `power-loss-after`, the number of writes after which nothing works any more; `seed`.
 *
 * What has been written and not flushed is kept in memory. A flush writes it to the disk below.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiskAccess, DiskObject } from 'vhostkit';

const SECTOR_BYTES = 512;

/** Numbers from 0 to 1 that look random: the same for the same seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function failed(text: string): Error {
  return Object.assign(new Error(text), { code: 'EIO' });
}

export default function flakyDisk(
  {
    errors = '0',
    slow = '0',
    'delay-ms': delayMs = '100',
    'power-loss-after': lastWrite = 'Infinity',
    seed = '1',
  },
  below: DiskAccess,
): DiskObject {
  const random = randomNumbers(Number(seed));
  /** Sectors that are in no disk yet, by number. */
  const unsafe = new Map<number, Uint8Array>();
  let writes = 0;

  const mayFail = async (what: string): Promise<void> => {
    if (writes > Number(lastWrite)) throw failed('there is no power');
    if (random() < Number(errors)) throw failed(`${what} fails, as it was asked to`);
    if (random() < Number(slow)) await sleep(Number(delayMs));
  };

  return {
    sizeBytes: below.info.sizeBytes,
    description: `a flaky disk, seed ${seed}`,

    async read(buffer, offset) {
      await mayFail('a read');
      await below.read(buffer, offset);
      for (let at = 0; at < buffer.length; at += SECTOR_BYTES) {
        const sector = unsafe.get((offset + at) / SECTOR_BYTES);
        if (sector !== undefined) buffer.set(sector, at);
      }
    },
    async write(buffer, offset) {
      writes += 1;
      await mayFail('a write');
      for (let at = 0; at < buffer.length; at += SECTOR_BYTES) {
        // A copy: the buffer is the guest's, and only lent.
        unsafe.set((offset + at) / SECTOR_BYTES, buffer.slice(at, at + SECTOR_BYTES));
      }
    },
    async flush() {
      await mayFail('a flush');
      for (const [number, sector] of [...unsafe]) {
        await below.write(sector, number * SECTOR_BYTES);
        if (unsafe.get(number) === sector) unsafe.delete(number);
      }
      await below.flush();
    },
  };
}
