/**
 * A disk that does no I/O: writes are forgotten, reads leave the guest's buffers as they are. It
 * shows what the path to a disk costs by itself.
 */
import type { Disk, DiskChannel, DiskInfo } from '../disk.ts';
import { checkBlockSize } from '../file/open-file-disk.ts';
import { type DiskKind, DiskPlan } from '../plan/disk-kind.ts';
import { diskBytes } from '../plan/parameter-types.ts';

const DEFAULT_BLOCK_BYTES = 512;

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
  readonly kind = 'null';
  readonly below: readonly Disk[] = [];
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

/** See the kind's parameters. */
export interface NullParameters {
  readonly size: number;
}

/** The kind `null`. */
export const nullKind: DiskKind<NullParameters> = {
  name: 'null',
  summary: 'does no I/O: forgets what is written, reads leave the buffers as they are',
  below: 'none',
  primary: 'size',
  parameters: { size: { type: diskBytes, summary: 'size of the disk', isRequired: true } },
  open({ parameters, options }) {
    const logicalBlockBytes = options.blockBytes ?? DEFAULT_BLOCK_BYTES;
    checkBlockSize(logicalBlockBytes);
    const readOnly = options.readOnly ?? false;
    return new NullDisk({
      sizeBytes: parameters.size,
      readOnly,
      logicalBlockBytes,
      physicalBlockBytes: logicalBlockBytes,
      minIoBytes: 0,
      optimalIoBytes: 0,
      canDiscard: !readOnly,
      canWriteZeroes: !readOnly,
      writeBack: options.cache !== 'writethrough',
    });
  },
};

/** A disk of `size` bytes that does no I/O. */
export function nullDisk(size: number): DiskPlan {
  return new DiskPlan(nullKind, { size });
}
