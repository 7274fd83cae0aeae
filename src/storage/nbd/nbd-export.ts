/** What a server says of an export, checked. */
import { TransmissionFlag as Flag, NbdInfo, NbdProtocolError } from './nbd-protocol.ts';

/** The limits of servers that do not name any ("Size constraints"). */
const DEFAULT_MIN_BYTES = 1;
const DEFAULT_PREFERRED_BYTES = 4096;
const DEFAULT_MAX_PAYLOAD_BYTES = 2 ** 25;
const MAX_MIN_BYTES = 65536;
const SECTOR_BYTES = 512;

/** Sizes of requests that a server takes, in bytes. */
export interface SizeConstraints {
  /** Offsets and lengths are multiples of it: a power of two up to 65536. */
  readonly minBlockBytes: number;
  /** What it works with best: a power of two. */
  readonly preferredBlockBytes: number;
  /** Of data in one request. */
  readonly maxPayloadBytes: number;
}

/** See the module's comment. */
export interface NbdExport extends SizeConstraints {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly canFlush: boolean;
  readonly canFua: boolean;
  readonly canTrim: boolean;
  readonly canWriteZeroes: boolean;
  readonly canFastZero: boolean;
  /** Several connections see each other's flushes. */
  readonly canMultiConn: boolean;
}

const DEFAULT_CONSTRAINTS: SizeConstraints = {
  minBlockBytes: DEFAULT_MIN_BYTES,
  preferredBlockBytes: DEFAULT_PREFERRED_BYTES,
  maxPayloadBytes: DEFAULT_MAX_PAYLOAD_BYTES,
};

/** Collects the information that comes before an export is gone into. */
export class ExportInfo {
  #size: { sizeBytes: number; flags: number } | undefined;
  #constraints = DEFAULT_CONSTRAINTS;

  /** One NBD_REP_INFO. Throws an `NbdProtocolError`. */
  add(info: Buffer): void {
    if (info.length < 2) throw new NbdProtocolError('NBD_REP_INFO without a type');
    const type = info.readUInt16BE(0);
    if (type === NbdInfo.EXPORT) {
      if (info.length !== 12) throw new NbdProtocolError('NBD_INFO_EXPORT of a wrong length');
      this.addExport(info.subarray(2));
    } else if (type === NbdInfo.BLOCK_SIZE) {
      if (info.length !== 14) throw new NbdProtocolError('NBD_INFO_BLOCK_SIZE of a wrong length');
      this.#constraints = constraintsOf(info);
    }
  }

  /** Size and transmission flags: 10 bytes. */
  addExport(bytes: Buffer): void {
    const sizeBytes = Number(bytes.readBigUInt64BE(0));
    if (!Number.isSafeInteger(sizeBytes)) {
      throw new NbdProtocolError(`an export of ${sizeBytes} bytes is more than a disk may have`);
    }
    this.#size = { sizeBytes, flags: bytes.readUInt16BE(8) };
  }

  /** All that has been said. Throws an `NbdProtocolError` if the size has not. */
  get(): NbdExport {
    if (this.#size === undefined) {
      throw new NbdProtocolError('the server has not said how large the export is');
    }
    const { sizeBytes, flags } = this.#size;
    // Flags mean nothing without this one.
    const has = (flag: number): boolean => (flags & Flag.HAS_FLAGS) !== 0 && (flags & flag) !== 0;
    return {
      ...this.#constraints,
      sizeBytes,
      readOnly: has(Flag.READ_ONLY),
      canFlush: has(Flag.SEND_FLUSH),
      canFua: has(Flag.SEND_FUA),
      canTrim: has(Flag.SEND_TRIM),
      canWriteZeroes: has(Flag.SEND_WRITE_ZEROES),
      canFastZero: has(Flag.SEND_WRITE_ZEROES) && has(Flag.SEND_FAST_ZERO),
      canMultiConn: has(Flag.CAN_MULTI_CONN),
    };
  }
}

function constraintsOf(info: Buffer): SizeConstraints {
  const minBlockBytes = info.readUInt32BE(2);
  const preferredBlockBytes = info.readUInt32BE(6);
  const maxPayloadBytes = info.readUInt32BE(10);
  const isRight =
    isPowerOfTwo(minBlockBytes) &&
    minBlockBytes <= MAX_MIN_BYTES &&
    isPowerOfTwo(preferredBlockBytes) &&
    preferredBlockBytes >= minBlockBytes &&
    // Less than a sector could not even be read.
    maxPayloadBytes >= Math.max(minBlockBytes, SECTOR_BYTES);
  if (isRight) return { minBlockBytes, preferredBlockBytes, maxPayloadBytes };
  const sizes = `${minBlockBytes}, ${preferredBlockBytes}, ${maxPayloadBytes}`;
  throw new NbdProtocolError(`the server's block sizes make no sense: ${sizes}`);
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}
