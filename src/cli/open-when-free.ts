/** Opening a disk that may be about to become free. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Disk, StorageError } from '../storage/index.ts';
import { type DiskChoice, openChoice } from './disk-choice.ts';

/** How long to wait for an image that is in use, and between looks. */
const LOCK_WAIT_MS = 3000;
const LOCK_LOOK_MS = 20;

/**
 * Requests of a server that was killed hold the image's lock until they are done, which takes a
 * moment: only who holds it longer is somebody else. Throws a `StorageError`.
 */
export async function openWhenFree(choice: DiskChoice): Promise<Disk> {
  const endMs = performance.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      return await openChoice(choice);
    } catch (error) {
      const isInUse = error instanceof StorageError && error.code === 'DISK_IN_USE';
      if (!isInUse || performance.now() >= endMs) throw error;
      await delay(LOCK_LOOK_MS);
    }
  }
}
