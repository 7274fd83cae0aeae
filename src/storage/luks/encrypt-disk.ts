/** A disk that is encrypted with LUKS in the disk below, as one thread sees it: unlocked. */
import type { Reactor } from '../../sys/index.ts';
import type { Disk, DiskChannel, DiskInfo, DiskRequestHandler } from '../disk.ts';
import type { DiskRequests } from '../disk-requests.ts';
import { StorageError } from '../errors.ts';
import { FilterDisk } from '../filters/filter-disk.ts';
import type { HandleOf } from '../filters/filter-handle.ts';
import type { CipherSpec } from './cipher-spec.ts';
import { EncryptChannel } from './encrypt-channel.ts';
import { openSectorCipher } from './sector-cipher.ts';
import { SharedLatch } from './shared-latch.ts';
import { ZeroPiece } from './zero-piece.ts';

/** What a thread needs to use an unlocked volume, besides the disk below. */
export interface EncryptSettings {
  readonly description: string;
  readonly cipher: CipherSpec;
  readonly key: Uint8Array;
  readonly sectorBytes: number;
  readonly dataOffset: number;
  /** Absent: up to the end of the disk below. */
  readonly dataBytes: number | undefined;
  /** Of the first sector, in units of 512 bytes. */
  readonly firstNumber: number;
  readonly allowDiscards: boolean;
  /** See `SharedLatch`. */
  readonly latch: SharedArrayBuffer;
}

/** See the module's comment. */
export class EncryptDisk extends FilterDisk {
  readonly kind = 'encrypt';
  readonly description: string;
  readonly #settings: EncryptSettings;
  readonly #latch: SharedLatch;
  readonly #zeros = new ZeroPiece();

  /** Throws a `StorageError` DISK_BLOCK_SIZE if the data does not begin at a block of the disk below. */
  constructor(lower: Disk, settings: EncryptSettings) {
    super(lower, infoOf(lower, settings));
    this.#settings = { ...settings, key: Uint8Array.from(settings.key) };
    this.#latch = new SharedLatch(settings.latch);
    this.description = settings.description;
  }

  override currentSizeBytes(): number {
    return dataBytesOf(this.lower.currentSizeBytes(), this.#settings, this.info.logicalBlockBytes);
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const { cipher, key, sectorBytes, dataOffset, firstNumber } = this.#settings;
    const data = {
      ...{ sectorBytes, dataOffset, firstNumber, latch: this.#latch, zeros: this.#zeros },
      cipher: openSectorCipher(cipher, key, sectorBytes),
      blockBytes: this.info.logicalBlockBytes,
    };
    return new EncryptChannel(reactor, requests, handler, data, (below, belowHandler) =>
      this.lower.openChannel(reactor, below, belowHandler),
    );
  }

  share(): HandleOf<'encrypt'> {
    return { kind: 'encrypt', lower: this.lower.share(), settings: this.#settings };
  }

  override close(): void | Promise<void> {
    this.#settings.key.fill(0);
    this.#zeros.close();
    return super.close();
  }
}

function infoOf(lower: Disk, settings: EncryptSettings): Partial<DiskInfo> {
  const { sectorBytes, dataOffset, allowDiscards } = settings;
  const { info } = lower;
  const logicalBlockBytes = Math.max(sectorBytes, info.logicalBlockBytes);
  if (dataOffset % info.logicalBlockBytes !== 0) {
    throw new StorageError(
      'DISK_BLOCK_SIZE',
      `LUKS: the data begins at byte ${dataOffset}, which is no multiple of the blocks of ` +
        `${info.logicalBlockBytes} bytes that the disk below has`,
    );
  }
  const sizeBytes = dataBytesOf(info.sizeBytes, settings, logicalBlockBytes);
  if (sizeBytes === 0) {
    throw new StorageError('DISK_EMPTY', 'LUKS: behind the header there is no room for data');
  }
  return {
    sizeBytes,
    logicalBlockBytes,
    physicalBlockBytes: Math.max(logicalBlockBytes, info.physicalBlockBytes),
    canDiscard: allowDiscards && info.canDiscard,
    canWriteZeroes: !info.readOnly,
  };
}

/** Size of the data in whole blocks, on a disk of so many bytes. */
function dataBytesOf(lowerBytes: number, settings: EncryptSettings, blockBytes: number): number {
  const there = Math.max(0, lowerBytes - settings.dataOffset);
  const bytes = Math.min(there, settings.dataBytes ?? there);
  return bytes - (bytes % blockBytes);
}
