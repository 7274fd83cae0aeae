/** Finds reads that follow each other, several such streams at a time: there what comes next is known. */

/** Streams that are remembered. */
const MAX_STREAMS = 16;
/** Requests of one stream may overtake each other by so much. */
const SLACK_BYTES = 512 * 1024;

interface Stream {
  /** How far it has been read. */
  end: number;
  /** How far it has been read in advance. */
  aheadEnd: number;
  windowBytes: number;
}

/** What to read in advance. */
export interface AheadRange {
  readonly from: number;
  readonly bytes: number;
}

/** See the module's comment. */
export class SequentialReads {
  readonly #firstBytes: number;
  readonly #maxBytes: number;
  /** Those read last at the end. */
  readonly #streams: Stream[] = [];

  /** @param firstBytes - how far ahead at first; then twice as far with each read, to `maxBytes`. */
  constructor(firstBytes: number, maxBytes: number) {
    this.#firstBytes = firstBytes;
    this.#maxBytes = maxBytes;
  }

  /** A read. What to read in advance, if it is time for that. */
  note(offset: number, length: number): AheadRange | undefined {
    const end = offset + length;
    const index = this.#streams.findIndex((stream) => isNext(stream, offset));
    if (index === -1) {
      this.#streams.push({ end, aheadEnd: end, windowBytes: 0 });
      if (this.#streams.length > MAX_STREAMS) this.#streams.shift();
      return undefined;
    }
    const [stream] = this.#streams.splice(index, 1);
    this.#streams.push(stream);
    if (end <= stream.end) return undefined;
    stream.end = end;
    const grown = Math.max(this.#firstBytes, stream.windowBytes * 2);
    stream.windowBytes = Math.min(grown, this.#maxBytes);
    // Not a little with each read, but half a window at a time.
    if (stream.aheadEnd - end > stream.windowBytes / 2) return undefined;
    const from = Math.max(stream.aheadEnd, end);
    stream.aheadEnd = end + stream.windowBytes;
    return { from, bytes: stream.aheadEnd - from };
  }
}

function isNext(stream: Stream, offset: number): boolean {
  // The first two have to meet exactly: by chance many are near each other.
  if (stream.windowBytes === 0) return offset === stream.end;
  return Math.abs(offset - stream.end) <= SLACK_BYTES;
}
