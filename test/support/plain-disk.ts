/**
 * A disk that can read, write and flush, and nothing else, as those of many back-ends: it offers
 * neither WRITE_ZEROES nor DISCARD.
 */
import {
  type Disk,
  type DiskChannel,
  DiskOperation,
  type DiskRequestHandler,
  type DiskRequests,
} from '../../src/storage/index.ts';
import type { Reactor } from '../../src/sys/index.ts';
import { OwnDisk } from './own-disk-server.ts';

/** See the module's comment. Counts the bytes that are written. */
export class PlainDisk extends OwnDisk {
  readonly description = 'a disk for reads and writes';
  bytesWritten = 0;

  constructor(below: Disk) {
    super(below, { canDiscard: false, canWriteZeroes: false });
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const channel = this.image.openChannel(reactor, requests, handler);
    const start = (slot: number): number => {
      const operation = requests.operation[slot];
      if (operation > DiskOperation.FLUSH) throw new Error('a request that was not offered');
      if (operation === DiskOperation.WRITE) this.bytesWritten += requests.lengthBytes[slot];
      return channel.start(slot);
    };
    return { start, close: () => channel.close() };
  }
}
