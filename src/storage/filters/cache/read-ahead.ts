/** Readers that go through a disk from front to back, and what they will want next. */

/** Readers that are told apart. */
const STREAMS = 8;

interface Stream {
  /** Where its last read ended. */
  end: number;
  /** As far as it has been read ahead. */
  ahead: number;
}

/** See the module's comment. */
export class ReadAhead {
  readonly #bytes: number;
  /** The one that was heard of last is the last. */
  readonly #streams: Stream[] = [];

  /** @param bytes - how far ahead of a reader; 0: not at all. */
  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  /** A request reads. @returns what to read ahead of it, if anything. Bytes. */
  next(offset: number, length: number): { offset: number; length: number } | undefined {
    if (this.#bytes === 0) return undefined;
    const end = offset + length;
    const index = this.#streams.findIndex((stream) => stream.end === offset);
    if (index === -1) {
      this.#streams.push({ end, ahead: end });
      if (this.#streams.length > STREAMS) this.#streams.shift();
      return undefined;
    }
    const [stream] = this.#streams.splice(index, 1);
    this.#streams.push(stream);
    stream.end = end;
    // In halves: while one is being read, the reader has the other.
    if (stream.ahead - end >= this.#bytes / 2) return undefined;
    const start = Math.max(stream.ahead, end);
    stream.ahead = end + this.#bytes;
    return { offset: start, length: stream.ahead - start };
  }
}
