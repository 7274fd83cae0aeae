/**
 * The dirty log of a session: checks and maps what the front-end sends (SET_LOG_BASE, SET_LOG_FD),
 * and hands it to the device.
 */
import { LOG_PAGE_BYTES, type MemoryRegion } from '../memory/index.ts';
import { type Fd, isEventFd, MAX_VIEW_BYTES, type Mapping } from '../sys/index.ts';
import type { BackendDevice } from './backend-device.ts';
import { ProtocolError } from './errors.ts';
import type { RequestOf } from './messages.ts';
import { mapSharedFile } from './shared-file.ts';

/** Largest log: one view of memory, bits for 32 TiB of guest addresses. */
const MAX_LOG_BYTES = MAX_VIEW_BYTES;
/** Guest memory for which a byte of the log has bits. */
const COVERED_PER_BYTE = LOG_PAGE_BYTES * 8;

/** See the module's comment. */
export class SessionLog {
  readonly #device: BackendDevice;
  #mapping: Mapping | undefined;
  #fd: Fd | undefined;

  constructor(device: BackendDevice) {
    this.#device = device;
  }

  /** The descriptor to signal when the log has changed, if the front-end wants to know. */
  get fd(): number | undefined {
    return this.#fd?.number;
  }

  /**
   * SET_LOG_BASE: log to a part of a file from now on.
   *
   * @param fd - of the file; stays the caller's.
   * @param regions - the guest's memory at present, all of which must have bits.
   * @throws ProtocolError BAD_LOG; then the old log, if there is one, stays in force.
   */
  async setBase(
    area: RequestOf<'SET_LOG_BASE'>,
    fd: Fd,
    regions: readonly MemoryRegion[],
  ): Promise<void> {
    const mapping = mapLog(area, fd, regions);
    const old = this.#mapping;
    this.#mapping = mapping;
    await this.#device.setLog(mapping);
    old?.close();
  }

  /** SET_LOG_FD: take the new descriptor over; returns the old one, to be closed after use. */
  exchangeFd(fd: Fd): Fd | undefined {
    if (!isEventFd(fd.number)) {
      throw new ProtocolError('BAD_DESCRIPTORS', 'the descriptor is no event descriptor');
    }
    const old = this.#fd;
    this.#fd = fd;
    return old;
  }

  /** No ring runs any more: let everything go. */
  async close(): Promise<void> {
    const [mapping, fd] = [this.#mapping, this.#fd];
    this.#mapping = undefined;
    this.#fd = undefined;
    try {
      if (mapping !== undefined) await this.#device.setLog(undefined);
    } finally {
      mapping?.close();
      fd?.close();
    }
  }
}

function mapLog(
  { sizeBytes, offset }: RequestOf<'SET_LOG_BASE'>,
  fd: Fd,
  regions: readonly MemoryRegion[],
): Mapping {
  if (sizeBytes === 0 || sizeBytes > MAX_LOG_BYTES) {
    throw new ProtocolError('BAD_LOG', `a log of ${sizeBytes} bytes: 1 to ${MAX_LOG_BYTES}`);
  }
  const memoryEnd = Math.max(0, ...regions.map((region) => region.guestAddress + region.sizeBytes));
  if (memoryEnd > sizeBytes * COVERED_PER_BYTE) {
    // To go on would be a migration that loses pages, and nobody would know.
    const where = `memory ends at 0x${memoryEnd.toString(16)}`;
    throw new ProtocolError('BAD_LOG', `a log of ${sizeBytes} bytes is too small: ${where}`);
  }
  return mapSharedFile(fd, {
    what: 'log',
    descriptor: 'the descriptor',
    ...{ offsetBytes: offset, sizeBytes },
    code: 'BAD_LOG',
  });
}
