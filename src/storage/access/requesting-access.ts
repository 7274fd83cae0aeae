/** What all accesses have in common: what a disk cannot do is done another way, or refused. */
import { Errno, SystemError } from '../../sys/index.ts';
import type { Disk, DiskInfo } from '../disk.ts';
import { DiskFlag, DiskOperation } from '../disk-requests.ts';
import type { AccessOptions, DiskAccess } from './disk-access.ts';

/** Zeros that are written at a time. */
const ZEROS_BYTES = 2 ** 18;
const ZEROS = new Uint8Array(ZEROS_BYTES);

/** One request of an access. */
export interface AccessRequest {
  /** `DiskOperation`. */
  readonly operation: number;
  /** `DiskFlag`. */
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  /** READ, WRITE: of `length` bytes. */
  readonly buffer?: Uint8Array;
  /** Of its options only the signal: nobody is to ask for that unless somebody wants to know. */
  readonly options?: Pick<AccessOptions, 'signal'> | undefined;
}

type Settled = void | Promise<void>;

function flagsOf(options: AccessOptions | undefined): number {
  if (options === undefined) return 0;
  return (
    (options.stable === true ? DiskFlag.STABLE : 0) |
    (options.mayUnmap === true ? DiskFlag.UNMAP : 0) |
    (options.mustBeFast === true ? DiskFlag.NO_FALLBACK : 0)
  );
}

/** See the module's comment. */
export abstract class RequestingAccess implements DiskAccess {
  readonly info: DiskInfo;
  readonly #disk: Disk;
  #onIdle: (() => void)[] = [];

  constructor(disk: Disk) {
    this.#disk = disk;
    this.info = disk.info;
  }

  /** Have a request done that the disk can do. Fails as `DiskAccess` says. */
  protected abstract request(request: AccessRequest): Settled;

  protected abstract get isIdle(): boolean;
  abstract close(): void;

  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** A request has ended. */
  protected tellIfIdle(): void {
    if (this.#onIdle.length === 0 || !this.isIdle) return;
    for (const tell of this.#onIdle.splice(0)) tell();
  }

  currentSizeBytes(): number {
    return this.#disk.currentSizeBytes();
  }

  onResize(listener: () => void): void {
    this.#disk.onResize?.(listener);
  }

  read(buffer: Uint8Array, offset: number, options?: AccessOptions): Settled {
    return this.#transfer(DiskOperation.READ, buffer, offset, options);
  }

  write(buffer: Uint8Array, offset: number, options?: AccessOptions): Settled {
    this.#checkWritable('write');
    return this.#transfer(DiskOperation.WRITE, buffer, offset, options);
  }

  #transfer(
    operation: number,
    buffer: Uint8Array,
    offset: number,
    options: AccessOptions | undefined,
  ): Settled {
    const { length } = buffer;
    if (length === 0) return undefined;
    this.#checkRange(operation, offset, length);
    const flags = this.#flags(operation, options);
    return this.request({ operation, flags, offset, length, buffer, options });
  }

  flush(options?: AccessOptions): Settled {
    const { readOnly, writeBack } = this.info;
    if (readOnly || !writeBack) return undefined;
    return this.#order(DiskOperation.FLUSH, 0, 0, options);
  }

  discard(offset: number, length: number, options?: AccessOptions): Settled {
    this.#checkWritable('discard');
    if (length === 0) return undefined;
    this.#checkRange(DiskOperation.DISCARD, offset, length);
    if (!this.info.canDiscard) return undefined;
    return this.#order(DiskOperation.DISCARD, offset, length, options);
  }

  writeZeroes(offset: number, length: number, options?: AccessOptions): Settled {
    this.#checkWritable('writeZeroes');
    if (length === 0) return undefined;
    this.#checkRange(DiskOperation.WRITE_ZEROES, offset, length);
    if (this.info.canWriteZeroes) {
      return this.#order(DiskOperation.WRITE_ZEROES, offset, length, options);
    }
    if (options?.mustBeFast === true) throw new SystemError('writeZeroes', Errno.EOPNOTSUPP);
    return this.#writeZeros(offset, length, options);
  }

  #order(
    operation: number,
    offset: number,
    length: number,
    options: AccessOptions | undefined,
  ): Settled {
    const flags = this.#flags(operation, options);
    return this.request({ operation, flags, offset, length, options });
  }

  async #writeZeros(
    offset: number,
    length: number,
    options: AccessOptions | undefined,
  ): Promise<void> {
    for (let at = 0; at < length; at += ZEROS_BYTES) {
      await this.write(ZEROS.subarray(0, Math.min(ZEROS_BYTES, length - at)), offset + at, options);
    }
  }

  /** A disk that says it has no volatile cache is held to it: nobody will flush. */
  #flags(operation: number, options: AccessOptions | undefined): number {
    const changes = operation !== DiskOperation.READ && operation !== DiskOperation.FLUSH;
    const isStable = changes && !this.info.writeBack;
    return flagsOf(options) | (isStable ? DiskFlag.STABLE : 0);
  }

  /** Offsets that code has got wrong must not become others. */
  #checkRange(operation: number, offset: number, length: number): void {
    const { logicalBlockBytes, sizeBytes } = this.info;
    const end = offset + length;
    // The last block of a file may be there in part.
    const isRound = end % logicalBlockBytes === 0 || end === this.currentSizeBytes();
    const isWhole = offset % logicalBlockBytes === 0 && isRound;
    // The size may have changed.
    const isInside = end <= sizeBytes || end <= this.currentSizeBytes();
    if (isWhole && isInside && offset >= 0 && length > 0) return;
    const problem = isWhole
      ? `not within the disk of ${this.currentSizeBytes()} bytes`
      : `no multiple of blocks of ${logicalBlockBytes} bytes`;
    const subject = `${length} bytes at offset ${offset}: ${problem}`;
    throw new SystemError(METHOD_NAMES[operation], Errno.EINVAL, subject);
  }

  #checkWritable(method: string): void {
    if (this.info.readOnly) throw new SystemError(method, Errno.EROFS);
  }
}

const METHOD_NAMES: Readonly<Record<number, string>> = {
  [DiskOperation.READ]: 'read',
  [DiskOperation.WRITE]: 'write',
  [DiskOperation.FLUSH]: 'flush',
  [DiskOperation.DISCARD]: 'discard',
  [DiskOperation.WRITE_ZEROES]: 'writeZeroes',
};

/** What a request fails with. @param result - a negative errno. */
export function failure({ operation, offset, length }: AccessRequest, result: number): SystemError {
  return new SystemError(METHOD_NAMES[operation], -result, `${length} bytes at offset ${offset}`);
}
