/** An NBD export as a disk object. */
import { lengthOf, partOf } from '../object/buffer-pieces.ts';
import type { DiskObject, ObjectRequest } from '../object/disk-object.ts';
import type { LinkRequest, NbdLink } from './nbd-link.ts';
import { CommandFlag, NbdCommand } from './nbd-protocol.ts';

const SECTOR_BYTES = 512;
const MAX_PHYSICAL_BYTES = 65536;
/** Of requests without data; more is not asked for at a time, though 32 bits would have room. */
const MAX_RANGE_BYTES = 2 ** 30;
/** Requests under way at once: what comes beyond waits without a place on the connection. */
const MAX_CONCURRENCY = 256;

/** The object; throws nothing. @param description - one line for the log. */
export function nbdObject(link: NbdLink, description: string): DiskObject {
  const { export: exported } = link;
  const disk = new NbdDisk(link);
  const { logicalBlockBytes } = disk;
  const preferred = exported.preferredBlockBytes;
  const isPhysical = preferred > logicalBlockBytes && preferred <= MAX_PHYSICAL_BYTES;
  return {
    description,
    sizeBytes: disk.sizeBytes,
    logicalBlockBytes,
    physicalBlockBytes: isPhysical ? preferred : logicalBlockBytes,
    ...(preferred > SECTOR_BYTES && preferred <= 2 ** 31 ? { minIoBytes: preferred } : {}),
    maxConcurrency: MAX_CONCURRENCY,
    honoursStable: exported.canFua,
    read: (buffer, offset, request) => disk.read([buffer], offset, request),
    readv: (buffers, offset, request) => disk.read(buffers, offset, request),
    ...(exported.readOnly ? {} : changes(disk, link)),
    useLogger: (logger) => {
      link.logger = logger;
    },
    close: () => link.close(),
  };
}

/** The methods that change what is on the disk, as far as the server has them. */
function changes(disk: NbdDisk, { export: exported }: NbdLink): Partial<DiskObject> {
  return {
    write: (buffer, offset, request) => disk.write([buffer], offset, request),
    writev: (buffers, offset, request) => disk.write(buffers, offset, request),
    ...(exported.canFlush ? { flush: (request) => disk.flush(request) } : {}),
    ...(exported.canTrim
      ? { discard: (offset, length, request) => disk.discard(offset, length, request) }
      : {}),
    ...(exported.canWriteZeroes
      ? { writeZeroes: (offset, length, request) => disk.writeZeroes(offset, length, request) }
      : {}),
  };
}

/** See the module's comment. */
class NbdDisk {
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly #link: NbdLink;
  /** What of the export can be reached; the rest of the last sector reads as zeros. */
  readonly #exportBytes: number;
  readonly #maxDataBytes: number;

  constructor(link: NbdLink) {
    const { sizeBytes, minBlockBytes, maxPayloadBytes } = link.export;
    this.#link = link;
    this.logicalBlockBytes = Math.max(SECTOR_BYTES, minBlockBytes);
    this.#exportBytes = sizeBytes - (sizeBytes % minBlockBytes);
    this.sizeBytes = Math.ceil(this.#exportBytes / SECTOR_BYTES) * SECTOR_BYTES;
    this.#maxDataBytes = maxPayloadBytes - (maxPayloadBytes % this.logicalBlockBytes);
  }

  read(buffers: readonly Uint8Array[], offset: number, caller: ObjectRequest): Promise<void> {
    const length = lengthOf(buffers);
    const there = this.#within(offset, length);
    if (there < length) for (const part of partOf(buffers, there, length)) part.fill(0);
    return this.#transfer(NbdCommand.READ, buffers, offset, there, caller);
  }

  write(buffers: readonly Uint8Array[], offset: number, caller: ObjectRequest): Promise<void> {
    const there = this.#within(offset, lengthOf(buffers));
    return this.#transfer(NbdCommand.WRITE, buffers, offset, there, caller);
  }

  flush(caller: ObjectRequest): Promise<void> {
    return this.#link.request({ command: NbdCommand.FLUSH, caller });
  }

  discard(offset: number, length: number, caller: ObjectRequest): Promise<void> {
    return this.#range(
      { command: NbdCommand.TRIM, flags: this.#fua(caller) },
      offset,
      length,
      caller,
    );
  }

  writeZeroes(offset: number, length: number, caller: ObjectRequest): Promise<void> {
    const { mustBeFast, mayUnmap } = caller;
    if (mustBeFast && !this.#link.export.canFastZero) {
      const error = new Error('the server does not say whether writing zeros is fast');
      return Promise.reject(Object.assign(error, { code: 'ENOTSUP' }));
    }
    const flags =
      this.#fua(caller) |
      (mayUnmap ? 0 : CommandFlag.NO_HOLE) |
      (mustBeFast ? CommandFlag.FAST_ZERO : 0);
    return this.#range({ command: NbdCommand.WRITE_ZEROES, flags }, offset, length, caller);
  }

  #fua({ stable }: ObjectRequest): number {
    return stable && this.#link.export.canFua ? CommandFlag.FUA : 0;
  }

  /** How much of a range the export has. */
  #within(offset: number, length: number): number {
    return Math.min(length, this.#exportBytes - offset);
  }

  #transfer(
    command: number,
    buffers: readonly Uint8Array[],
    offset: number,
    length: number,
    caller: ObjectRequest,
  ): Promise<void> {
    const flags = command === NbdCommand.WRITE ? this.#fua(caller) : 0;
    if (length === lengthOf(buffers) && length <= this.#maxDataBytes) {
      return this.#link.request({ command, flags, offset, length, buffers, caller });
    }
    return inPieces(length, this.#maxDataBytes, (start, end) =>
      this.#link.request({
        ...{ command, flags, caller },
        offset: offset + start,
        length: end - start,
        buffers: partOf(buffers, start, end),
      }),
    );
  }

  #range(
    request: LinkRequest,
    offset: number,
    length: number,
    caller: ObjectRequest,
  ): Promise<void> {
    return inPieces(this.#within(offset, length), MAX_RANGE_BYTES, (start, end) =>
      this.#link.request({ ...request, caller, offset: offset + start, length: end - start }),
    );
  }
}

/** Settles when all pieces have: none is at the memory any more. */
async function inPieces(
  length: number,
  maxBytes: number,
  request: (start: number, end: number) => Promise<void>,
): Promise<void> {
  const pieces: Promise<void>[] = [];
  for (let start = 0; start < length; start += maxBytes) {
    pieces.push(request(start, Math.min(length, start + maxBytes)));
  }
  const results = await Promise.allSettled(pieces);
  for (const result of results) {
    if (result.status === 'rejected') throw result.reason;
  }
}
