/** Queues of a file: in the thread that opened it, and in others by descriptors of their own. */
import {
  type DiskRequestHandler,
  type DiskRequests,
  FileDisk,
  type FileDiskHandle,
} from '../../../storage/index.ts';
import { Fd, type Reactor } from '../../../sys/index.ts';
import type { AdoptedChannel } from '../../channel-handle.ts';
import type { QueueChannel } from '../../driver.ts';
import type { Lease } from '../../lease.ts';

/** For another thread. The descriptors are the adopter's. */
export interface FileQueueHandle {
  readonly kind: 'io_uring';
  readonly disk: FileDiskHandle;
}

/** A queue in the thread of the disk. */
export function openFileQueue(
  disk: FileDisk,
  reactor: Reactor,
  requests: DiskRequests,
  handler: DiskRequestHandler,
): QueueChannel {
  const channel = disk.openChannel(reactor, requests, handler);
  return {
    needsEventLoop: false,
    start: (slot) => channel.start(slot),
    // The reactor's turn submits.
    flush: () => {},
    close: () => channel.close(),
  };
}

/** A queue for another thread. */
export function shareFileQueue(disk: FileDisk): FileQueueHandle {
  return { kind: 'io_uring', disk: disk.duplicate() };
}

/** The other thread's side. */
export function adoptFileQueue(handle: FileQueueHandle, lease: Lease): AdoptedChannel {
  const fd = new Fd(handle.disk.fd, 'disk');
  const disk = new FileDisk(handle.disk, () => fd.close());
  return {
    capacityBytes: () => disk.fileSizeBytes(),
    open: (reactor, requests, handler) => openFileQueue(disk, reactor, requests, handler),
    close: () => {
      disk.close();
      lease.end();
    },
  };
}
