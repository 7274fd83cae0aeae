/**
 * What a server has acknowledged and not flushed: copies, to be written again if it is lost before
 * that. As NFS clients do, and unlike other NBD clients, for which the next flush would promise
 * what only the lost server knew.
 */
import { CopiedBytes } from './copied-bytes.ts';
import { NbdCommand } from './nbd-protocol.ts';
import { NbdRequest } from './nbd-request.ts';

/** More than this is flushed without being asked. */
const FLUSH_BYTES = 32 * 2 ** 20;
/** With more, writes wait for that flush. */
const MAX_BYTES = 64 * 2 ** 20;
/** What an entry counts besides its data. */
const ENTRY_BYTES = 256;
/** Written again at a time. */
const REPLAY_REQUESTS = 64;

interface Entry {
  readonly command: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  /** Where its data has been copied to, and how much of it. */
  readonly position: number;
  readonly dataBytes: number;
}

/** See the module's comment. */
export class UnflushedWrites {
  /** In the order of their acknowledgement; overlapping ones are never under way together. */
  #entries: Entry[] = [];
  readonly #copies = new CopiedBytes();
  #bytes = 0;
  /** Entries that have gone since the beginning: marks are counted from there. */
  #gone = 0;

  get count(): number {
    return this.#entries.length;
  }

  get shouldFlush(): boolean {
    return this.#bytes > FLUSH_BYTES;
  }

  get isFull(): boolean {
    return this.#bytes > MAX_BYTES;
  }

  /** A change that has been acknowledged. @param isStable - and need not be flushed. */
  add({ command, flags, offset, length, buffers }: NbdRequest, isStable: boolean): void {
    // Among others it is needed all the same: an older one could be written again over it.
    if (isStable && this.#entries.length === 0) return;
    const position = this.#copies.end;
    const dataBytes = command === NbdCommand.WRITE ? length : 0;
    if (dataBytes > 0) for (const buffer of buffers) this.#copies.add(buffer);
    this.#entries.push({ command, flags, offset, length, position, dataBytes });
    this.#bytes += ENTRY_BYTES + dataBytes;
  }

  /** What a flush that is sent now will cover. */
  mark(): number {
    return this.#gone + this.#entries.length;
  }

  /** A flush has succeeded that was sent at a mark. */
  flushed(mark: number): void {
    const done = Math.max(0, mark - this.#gone);
    for (const { dataBytes } of this.#entries.splice(0, done)) {
      this.#bytes -= ENTRY_BYTES + dataBytes;
    }
    this.#gone += done;
    this.#copies.dropBefore(this.#entries.at(0)?.position ?? this.#copies.end);
  }

  /** Forget all: it has been said that they may be lost. */
  clear(): void {
    this.flushed(this.mark());
  }

  /**
   * Write all of them again, in an order that ends in the same. Resolves when that is acknowledged.
   * Rejects if one of them fails, when none is under way any more: what comes next may overlap.
   */
  async replay(send: (request: NbdRequest) => void): Promise<void> {
    let batch: Entry[] = [];
    const run = async (): Promise<void> => {
      const results = await Promise.allSettled(batch.map((entry) => this.#repeat(entry, send)));
      for (const result of results) if (result.status === 'rejected') throw result.reason;
      batch = [];
    };
    for (const entry of this.#entries) {
      const mustWait = batch.length === REPLAY_REQUESTS || batch.some((each) => meet(each, entry));
      if (mustWait) await run();
      batch.push(entry);
    }
    await run();
  }

  #repeat(entry: Entry, send: (request: NbdRequest) => void): Promise<void> {
    const { command, flags, offset, length, position, dataBytes } = entry;
    const data = this.#copies.views(position, dataBytes);
    return new Promise((resolve, reject) => {
      const settle = (error: Error | undefined): void => (error ? reject(error) : resolve());
      send(new NbdRequest(command, flags, offset, length, data, settle));
    });
  }
}

function meet(one: Entry, other: Entry): boolean {
  return one.offset < other.offset + other.length && other.offset < one.offset + one.length;
}
