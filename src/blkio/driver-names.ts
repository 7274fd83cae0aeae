/** The drivers there are. */
import type { Driver } from './driver.ts';
import { IoUringDriver } from './drivers/io-uring/io-uring-driver.ts';
import { VirtioBlkVhostUserDriver } from './drivers/virtio-blk-vhost-user/vhost-user-driver.ts';
import { BlkioError } from './errors.ts';

const DRIVERS: Readonly<Record<string, () => Driver>> = {
  io_uring: () => new IoUringDriver(),
  'virtio-blk-vhost-user': () => new VirtioBlkVhostUserDriver(),
};

/** Names of the drivers, for `new Blkio`. */
export const driverNames: readonly string[] = Object.keys(DRIVERS);

/** @throws BlkioError ENOENT: there is no such driver. */
export function createDriver(name: string): Driver {
  const create = Object.hasOwn(DRIVERS, name) ? DRIVERS[name] : undefined;
  if (create !== undefined) return create();
  throw new BlkioError('ENOENT', `unknown driver "${name}"; known: ${driverNames.join(', ')}`);
}
