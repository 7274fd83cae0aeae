/**
 * A disk whose blocks have checksums elsewhere: what was written is written down, what is read is
 * compared, and what does not agree is an error and not data.
 */
import { Errno, type Logger, SystemError, silentLogger } from '../../../sys/index.ts';
import type { DiskAccess } from '../../access/disk-access.ts';
import type { DiskObject, ObjectRequest } from '../../object/disk-object.ts';
import { settleAll } from '../../settle-all.ts';
import { BlockLocks } from '../blocks/block-locks.ts';
import { type Piece, wholeAndEdges } from '../blocks/block-runs.ts';
import { type ChecksumTable, checksumOf, UNKNOWN } from './checksum-table.ts';
import type { WriteIntents } from './write-intents.ts';

/** Since the disk was opened. */
export interface ChecksumStatistics {
  /** Blocks that were read and agreed, and that did not. */
  readonly verified: number;
  readonly corrupt: number;
  /** Blocks that did not agree where the last end was not orderly, and were taken as they are. */
  readonly accepted: number;
  /** Regions that are in doubt still; a scan settles that. */
  readonly doubtfulRegions: number;
}

export interface ChecksumParts {
  readonly below: DiskAccess;
  readonly side: DiskAccess;
  readonly table: ChecksumTable;
  readonly intents: WriteIntents;
  readonly blockBytes: number;
}

/** See the module's comment. */
export class ChecksumObject implements DiskObject {
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly description: string;
  /** Blocks whose checksum is not known get one when they are read. */
  learns = false;
  readonly #parts: ChecksumParts;
  /** Held while a part of a block is read or written: all of it has to stand still. */
  readonly #locks = new BlockLocks();
  #logger: Logger = silentLogger;
  #verified = 0;
  #corrupt = 0;
  #accepted = 0;

  constructor(parts: ChecksumParts, description: string) {
    const { below, blockBytes } = parts;
    this.#parts = parts;
    this.description = description;
    this.sizeBytes = below.info.sizeBytes;
    this.logicalBlockBytes = below.info.logicalBlockBytes;
    this.physicalBlockBytes = Math.min(65536, Math.max(below.info.physicalBlockBytes, blockBytes));
  }

  get statistics(): ChecksumStatistics {
    return {
      verified: this.#verified,
      corrupt: this.#corrupt,
      accepted: this.#accepted,
      doubtfulRegions: this.#parts.intents.doubtfulRegions,
    };
  }

  get blockBytes(): number {
    return this.#parts.blockBytes;
  }

  get regionBytes(): number {
    return this.#parts.intents.regionBytes;
  }

  /** All of a region was read while `learns` was set. */
  settleDoubt(region: number): void {
    this.#parts.intents.settleDoubt(region);
  }

  useLogger(logger: Logger): void {
    this.#logger = logger;
  }

  /**
   * Reads of data are given up with their requests. Nothing else is: others wait for the same part of
   * the table, and a write that was given up would leave its blocks without checksums.
   */
  async read(buffer: Uint8Array, offset: number, request: ObjectRequest): Promise<void> {
    const { whole, edges } = this.#cut(offset, buffer.length);
    const tasks = edges.map(
      (edge) => () => this.#readEdge(edge, partOf(buffer, offset, edge), request),
    );
    if (whole.length > 0) {
      tasks.push(() => this.#readWhole(whole.offset, partOf(buffer, offset, whole), request));
    }
    await settleAll(tasks);
  }

  #cut(offset: number, length: number): { whole: Piece; edges: readonly Piece[] } {
    const { blockBytes } = this.#parts;
    const { first, end, edges } = wholeAndEdges(offset, length, blockBytes, this.sizeBytes);
    const start = first * blockBytes;
    const stop = Math.min(end * blockBytes, this.sizeBytes);
    return { whole: { offset: start, length: Math.max(0, stop - start) }, edges };
  }

  async #readWhole(offset: number, part: Uint8Array, request: ObjectRequest): Promise<void> {
    const { below, table, blockBytes } = this.#parts;
    const first = offset / blockBytes;
    const end = first + Math.ceil(part.length / blockBytes);
    await table.use(first, end, async () => {
      await below.read(part, offset, request);
      for (let block = first; block < end; block++) {
        const start = (block - first) * blockBytes;
        const data = part.subarray(start, start + blockBytes);
        const expected = table.get(block);
        if (expected === UNKNOWN && !this.learns) continue;
        if (expected === checksumOf(data)) this.#verified += 1;
        // The guest may write to its memory meanwhile: what counts is a look at one's own.
        else data.set(await this.#trusted(block, request));
      }
    });
  }

  async #readEdge(edge: Piece, part: Uint8Array, request: ObjectRequest): Promise<void> {
    const { below, table, blockBytes } = this.#parts;
    const block = Math.floor(edge.offset / blockBytes);
    await this.#locks.hold(block, () =>
      table.use(block, block + 1, async () => {
        if (table.get(block) === UNKNOWN) return below.read(part, edge.offset, request);
        const data = await this.#trusted(block, request);
        part.set(partOf(data, block * blockBytes, edge));
        return undefined;
      }),
    );
  }

  /** The data of a block, if it agrees. Within `use` of its entry. */
  async #trusted(block: number, request?: ObjectRequest): Promise<Uint8Array> {
    const { below, table, intents, blockBytes } = this.#parts;
    const offset = block * blockBytes;
    const data = new Uint8Array(Math.min(blockBytes, this.sizeBytes - offset));
    await below.read(data, offset, request);
    const found = checksumOf(data);
    const expected = table.get(block);
    if (expected === found) {
      this.#verified += 1;
      return data;
    }
    if (expected === UNKNOWN) {
      if (this.learns) table.set(block, found);
      return data;
    }
    if (intents.isDoubtful(offset)) {
      this.#accept(block, found);
      return data;
    }
    throw this.#corruption(block, expected, found);
  }

  #accept(block: number, found: number): void {
    const { table, blockBytes } = this.#parts;
    table.set(block, found);
    this.#accepted += 1;
    if (this.#accepted > 1) return;
    const where = `${blockBytes} bytes at offset ${block * blockBytes}`;
    const why = 'it was being written when the last server ended';
    this.#logger.warn(`checksum: ${where} do not agree: taken as they are, as ${why}`);
  }

  #corruption(block: number, expected: number, found: number): SystemError {
    const { blockBytes } = this.#parts;
    this.#corrupt += 1;
    const where = `block ${block} (${blockBytes} bytes at offset ${block * blockBytes})`;
    const sums = `its checksum is ${hex(found)}, not ${hex(expected)}`;
    const text = `${where} is corrupt: ${sums}`;
    this.#logger.error(`checksum: ${text}`);
    return new SystemError('checksum', Errno.EILSEQ, text);
  }

  async write(buffer: Uint8Array, offset: number): Promise<void> {
    // Of one's own: the guest may write to its memory between checksum and disk.
    const data = new Uint8Array(buffer);
    const { whole, edges } = this.#cut(offset, data.length);
    await this.#parts.intents.during(offset, data.length, async () => {
      const tasks = edges.map((edge) => () => this.#writeEdge(edge, partOf(data, offset, edge)));
      if (whole.length > 0) {
        const part = partOf(data, offset, whole);
        const write = (): void | Promise<void> => this.#parts.below.write(part, whole.offset);
        tasks.push(() =>
          this.#changeWhole(whole, write, (start, end) => part.subarray(start, end)),
        );
      }
      await settleAll(tasks);
    });
  }

  /** Change whole blocks. @param dataOf - what they are then. `undefined`: nobody knows. */
  async #changeWhole(
    { offset, length }: Piece,
    change: () => void | Promise<void>,
    dataOf: ((start: number, end: number) => Uint8Array) | undefined,
  ): Promise<void> {
    const { table, blockBytes } = this.#parts;
    const first = offset / blockBytes;
    const end = first + Math.ceil(length / blockBytes);
    await table.use(first, end, async () => {
      // If it fails, each of them may be as before, or changed, or a part of it.
      for (let block = first; block < end; block++) table.set(block, UNKNOWN);
      await change();
      if (dataOf === undefined) return;
      for (let block = first; block < end; block++) {
        const start = (block - first) * blockBytes;
        const data = dataOf(start, Math.min(length, start + blockBytes));
        table.set(block, checksumOf(data));
      }
    });
  }

  async #writeEdge(edge: Piece, part: Uint8Array): Promise<void> {
    const { below, table, blockBytes } = this.#parts;
    const block = Math.floor(edge.offset / blockBytes);
    await this.#locks.hold(block, () =>
      table.use(block, block + 1, async () => {
        // A block that is corrupt must not be made to look well.
        const data = await this.#trusted(block);
        partOf(data, block * blockBytes, edge).set(part);
        table.set(block, UNKNOWN);
        await below.write(part, edge.offset);
        table.set(block, checksumOf(data));
      }),
    );
  }

  /** Parts of blocks stay as they are. */
  async discard(offset: number, length: number): Promise<void> {
    const { whole } = this.#cut(offset, length);
    await this.#clear(
      whole,
      () => undefined,
      (piece) => this.#parts.below.discard(piece.offset, piece.length),
    );
  }

  async writeZeroes(offset: number, length: number, request: ObjectRequest): Promise<void> {
    const { below, intents, blockBytes } = this.#parts;
    const { mayUnmap, mustBeFast } = request;
    const { whole, edges } = this.#cut(offset, length);
    if (mustBeFast && edges.length > 0) throw new SystemError('writeZeroes', Errno.EOPNOTSUPP);
    const zeros = new Uint8Array(blockBytes);
    await settleAll(
      edges.map(
        (edge) => () =>
          intents.during(edge.offset, edge.length, () =>
            this.#writeEdge(edge, zeros.subarray(0, edge.length)),
          ),
      ),
    );
    await this.#clear(
      whole,
      (start, end) => zeros.subarray(0, end - start),
      (piece) => below.writeZeroes(piece.offset, piece.length, { mayUnmap, mustBeFast }),
    );
  }

  /** Region by region: ranges can be as large as the disk. */
  async #clear(
    whole: Piece,
    dataOf: (start: number, end: number) => Uint8Array | undefined,
    change: (piece: Piece) => void | Promise<void>,
  ): Promise<void> {
    const { intents, blockBytes } = this.#parts;
    const known = dataOf(0, blockBytes) === undefined ? undefined : dataOf;
    const stop = whole.offset + whole.length;
    for (let start = whole.offset; start < stop; ) {
      const end = Math.min(stop, (Math.floor(start / this.regionBytes) + 1) * this.regionBytes);
      const piece = { offset: start, length: end - start };
      await intents.during(piece.offset, piece.length, () =>
        this.#changeWhole(
          piece,
          () => change(piece),
          known as ((from: number, to: number) => Uint8Array) | undefined,
        ),
      );
      start = end;
    }
  }

  flush(): Promise<void> {
    return this.#flush(false);
  }

  #flush(isLast: boolean): Promise<void> {
    const { intents, below, side, table } = this.#parts;
    return intents.flush(async () => {
      await below.flush();
      await table.save();
      await side.flush();
    }, isLast);
  }

  /** After that nothing is in doubt. */
  async close(): Promise<void> {
    const { verified, corrupt } = this.statistics;
    this.#logger.info(`checksum: ${verified} blocks agreed, ${corrupt} were corrupt`);
    if (this.#parts.side.info.readOnly) return;
    await this.#flush(true);
    await this.#parts.side.flush();
  }
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0');
}

function partOf(buffer: Uint8Array, offset: number, piece: Piece): Uint8Array {
  return buffer.subarray(piece.offset - offset, piece.offset - offset + piece.length);
}
