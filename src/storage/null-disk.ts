/**
 * A disk that does no I/O: writes are forgotten, reads leave the guest's buffers as they are. It
 * shows what the path to a disk costs by itself.
 */
import type { Disk, DiskChannel, DiskInfo } from './disk.ts';

/** A null disk for another thread. */
export interface NullDiskHandle {
  readonly kind: 'null';
  readonly info: DiskInfo;
}

const CHANNEL: DiskChannel = {
  start: () => 0,
  close: () => {},
};

/** See the module's comment. */
export class NullDisk implements Disk {
  readonly info: DiskInfo;
  readonly description: string;

  constructor(info: DiskInfo) {
    this.info = info;
    this.description = `null disk of ${info.sizeBytes} bytes, no I/O`;
  }

  openChannel(): DiskChannel {
    return CHANNEL;
  }

  currentSizeBytes(): number {
    return this.info.sizeBytes;
  }

  share(): NullDiskHandle {
    return { kind: 'null', info: this.info };
  }

  close(): void {}
}
