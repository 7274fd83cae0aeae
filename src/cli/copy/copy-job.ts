/**
 * A copy under way: as many pieces at a time as its depth, each read, looked at, and written. What
 * is zero becomes zero in the output without being written where the device can do that.
 */
import { type AsyncQueue, BlkioError, MemoryRegion } from '../../blkio/index.ts';
import { alignmentOf, type Endpoint, rangesOf, startQueue } from './copy-endpoint.ts';
import { type Piece, piecesOf } from './copy-pieces.ts';

const PAGE_BYTES = 4096;
/** Longest range to make zero by one request, and where file systems are asked about holes. */
const MAX_HOLE_BYTES = 1024 ** 3;

export interface CopyOptions {
  readonly input: Endpoint;
  readonly output: Endpoint;
  readonly depth: number;
  readonly blockBytes: number;
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** The most bytes of a request that both sides take. */
function pieceBytes({ input, output, blockBytes }: CopyOptions, alignment: number): number {
  const limits = [input, output].map(({ device }) => device.getTyped('max-transfer', 'int'));
  const most = Math.min(blockBytes, ...limits.filter((limit) => limit > 0));
  return Math.max(alignment, Math.floor(most / alignment) * alignment);
}

/** See the module's comment. */
export class CopyJob {
  /** Bytes of pieces that are done, and of those that were zero. */
  doneBytes = 0;
  zeroBytes = 0;
  readonly #options: CopyOptions;
  readonly #alignment: number;
  readonly #dataBytes: number;
  readonly #region: MemoryRegion;
  readonly #zeros: Uint8Array;
  #from: AsyncQueue | undefined;
  #to: AsyncQueue | undefined;
  #canZero = true;

  constructor(options: CopyOptions) {
    const { input, output, depth } = options;
    this.#options = options;
    this.#alignment = Math.max(PAGE_BYTES, alignmentOf(input), alignmentOf(output));
    this.#dataBytes = pieceBytes(options, this.#alignment);
    const alignments = [input, output].map(({ device }) =>
      Number(device.getTyped('mem-region-alignment', 'uint64')),
    );
    const bytes = (2 * depth + 1) * this.#strideBytes;
    this.#region = MemoryRegion.allocate(roundUp(bytes, Math.max(PAGE_BYTES, ...alignments)));
    this.#zeros = this.#buffer(2 * depth);
  }

  get sizeBytes(): number {
    return this.#options.input.capacityBytes;
  }

  get #strideBytes(): number {
    return roundUp(this.#dataBytes, PAGE_BYTES);
  }

  #buffer(index: number): Uint8Array {
    return this.#region.view(index * this.#strideBytes, this.#strideBytes);
  }

  /** Start both devices. */
  async start(): Promise<void> {
    const { input, output } = this.#options;
    this.#from = await startQueue(input);
    this.#to = await startQueue(output);
    await input.device.mapRegion(this.#region);
    await output.device.mapRegion(this.#region);
  }

  get #queues(): { from: AsyncQueue; to: AsyncQueue } {
    if (this.#from === undefined || this.#to === undefined) throw new Error('not started');
    return { from: this.#from, to: this.#to };
  }

  /** Copy all, and make it stable. @throws BlkioError. */
  async copy(): Promise<void> {
    await this.#forAll((piece, index) => this.#copyPiece(piece, this.#buffer(index)));
    await this.#reachEnd();
    await this.#queues.to.flush();
  }

  /** Read both sides back. @throws BlkioError EIO: they differ, with the first place that does. */
  async verify(): Promise<void> {
    this.doneBytes = 0;
    const { depth } = this.#options;
    let differsAt = Number.POSITIVE_INFINITY;
    await this.#forAll(async (piece, index) => {
      if (piece.start >= differsAt) return;
      const buffers = [this.#buffer(index), this.#buffer(depth + index)] as const;
      const found = await this.#differenceIn(piece, buffers);
      differsAt = Math.min(differsAt, found);
    });
    if (differsAt === Number.POSITIVE_INFINITY) return;
    const text = `byte ${differsAt} of ${this.#options.output.name} differs from the input`;
    throw new BlkioError('EIO', `verification failed: ${text}`);
  }

  async #forAll(body: (piece: Piece, index: number) => Promise<void>): Promise<void> {
    const { input, depth } = this.#options;
    const pieces = piecesOf(rangesOf(input), {
      sizeBytes: this.sizeBytes,
      alignment: this.#alignment,
      dataBytes: this.#dataBytes,
      holeBytes: this.#holeBytes(),
    });
    const lane = async (_: unknown, index: number): Promise<void> => {
      // All lanes take from the same list.
      for (let next = pieces.next(); next.done !== true; next = pieces.next()) {
        await body(next.value, index);
        this.doneBytes += next.value.end - next.value.start;
      }
    };
    await Promise.all(Array.from({ length: depth }, lane));
  }

  #holeBytes(): number {
    const { device } = this.#options.output;
    const limit = Number(device.getTyped('max-write-zeroes-len', 'uint64'));
    const most = limit === 0 ? MAX_HOLE_BYTES : Math.min(limit, MAX_HOLE_BYTES);
    return Math.max(this.#alignment, Math.floor(most / this.#alignment) * this.#alignment);
  }

  async #copyPiece({ start, end, isHole }: Piece, buffer: Uint8Array): Promise<void> {
    if (isHole) {
      await this.#zero(start, end);
      return;
    }
    const { from, to } = this.#queues;
    const length = end - start;
    await from.read(start, buffer.subarray(0, length));
    const padded = roundUp(length, alignmentOf(this.#options.output));
    buffer.fill(0, length, padded);
    if (this.#isZero(buffer.subarray(0, length))) await this.#zero(start, end);
    else await to.write(start, buffer.subarray(0, padded));
  }

  #isZero(bytes: Uint8Array): boolean {
    return bytes[0] === 0 && Buffer.compare(bytes, this.#zeros.subarray(0, bytes.length)) === 0;
  }

  async #zero(start: number, end: number): Promise<void> {
    this.zeroBytes += end - start;
    const { output } = this.#options;
    const to = Math.min(roundUp(end, alignmentOf(output)), output.zeroFrom);
    if (to <= start) return;
    if (this.#canZero) {
      try {
        await this.#queues.to.writeZeroes(start, to - start);
        return;
      } catch (error) {
        if (!(error instanceof BlkioError) || error.code !== 'ENOTSUP') throw error;
        this.#canZero = false;
      }
    }
    for (let at = start; at < to; at += this.#dataBytes) {
      const length = Math.min(this.#dataBytes, to - at);
      await this.#queues.to.write(at, this.#zeros.subarray(0, length));
    }
  }

  /** An output that grows by being written has no hole at its end. */
  async #reachEnd(): Promise<void> {
    const { output } = this.#options;
    const alignment = alignmentOf(output);
    const end = roundUp(this.sizeBytes, alignment);
    if (output.device.capacityBytes >= end) return;
    await this.#queues.to.write(end - alignment, this.#zeros.subarray(0, alignment));
  }

  /** Offset of the first byte that differs; infinite: none. */
  async #differenceIn(
    { start, end }: Piece,
    [one, other]: readonly [Uint8Array, Uint8Array],
  ): Promise<number> {
    const { from, to } = this.#queues;
    for (let at = start; at < end; at += this.#dataBytes) {
      const length = Math.min(this.#dataBytes, end - at);
      const padded = roundUp(length, alignmentOf(this.#options.output));
      const expected = one.subarray(0, length);
      const actual = other.subarray(0, length);
      await Promise.all([from.read(at, expected), to.read(at, other.subarray(0, padded))]);
      if (Buffer.compare(expected, actual) === 0) continue;
      return at + expected.findIndex((byte, index) => byte !== actual[index]);
    }
    return Number.POSITIVE_INFINITY;
  }
}
