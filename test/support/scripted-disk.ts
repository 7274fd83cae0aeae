/** A disk whose one channel answers what a test tells it to. */
import type {
  Disk,
  DiskChannel,
  DiskHandle,
  DiskInfo,
  DiskRequestHandler,
  DiskRequests,
} from '../../src/storage/index.ts';
import type { Reactor } from '../../src/sys/index.ts';
import { ScriptedChannel } from './scripted-channel.ts';
import { NULL_DISK } from './served-queue.ts';

/** See the module's comment. */
export class ScriptedDisk implements Disk {
  readonly kind = 'scripted';
  readonly below: readonly Disk[] = [];
  readonly description = 'does as it is told';
  readonly info: DiskInfo;
  readonly channel: ScriptedChannel = new ScriptedChannel();
  isClosed = false;

  constructor(info: Partial<DiskInfo> = {}) {
    this.info = { ...NULL_DISK, ...info };
  }

  openChannel(_reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    return this.channel.open(requests, handler);
  }

  currentSizeBytes(): number {
    return this.info.sizeBytes;
  }

  share(): DiskHandle {
    throw new TypeError('it stays in its thread');
  }

  close(): void {
    this.isClosed = true;
  }
}
