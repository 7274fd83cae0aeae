/** Where a sparse file has data, and what pieces a copy of it has. */
import { type Fd, nextData, nextHole, SystemError } from '../../sys/index.ts';

/** From `start` to before `end`. */
export interface DataRange {
  readonly start: number;
  readonly end: number;
}

/** A piece of a copy: data to look at, or a hole. */
export interface Piece extends DataRange {
  readonly isHole: boolean;
}

/** A file's ranges of data, in order. A file system that does not know has one. */
export function* dataRanges(file: Fd, sizeBytes: number): Generator<DataRange> {
  let at = 0;
  while (at < sizeBytes) {
    const range = dataAfter(file, at, sizeBytes);
    if (range === undefined) return;
    yield range;
    at = range.end;
  }
}

function dataAfter(file: Fd, at: number, sizeBytes: number): DataRange | undefined {
  try {
    const start = nextData(file, at);
    if (start < 0 || start >= sizeBytes) return undefined;
    const hole = nextHole(file, start);
    return { start, end: hole < 0 ? sizeBytes : Math.min(hole, sizeBytes) };
  } catch (error) {
    if (error instanceof SystemError) return { start: at, end: sizeBytes };
    throw error;
  }
}

/** How a copy is cut. */
export interface Cut {
  readonly sizeBytes: number;
  /** Pieces start at multiples of it; only the last may end elsewhere. */
  readonly alignment: number;
  readonly dataBytes: number;
  readonly holeBytes: number;
}

/** The pieces of a copy, in order and without gaps: none is longer than the cut allows. */
export function* piecesOf(ranges: Iterable<DataRange>, cut: Cut): Generator<Piece> {
  const { sizeBytes, alignment, dataBytes, holeBytes } = cut;
  let at = 0;
  for (const range of ranges) {
    const start = Math.floor(range.start / alignment) * alignment;
    const end = Math.min(Math.ceil(range.end / alignment) * alignment, sizeBytes);
    // Two ranges may share a block.
    if (start > at) yield* split(at, start, holeBytes, true);
    yield* split(Math.max(start, at), end, dataBytes, false);
    at = Math.max(at, end);
  }
  yield* split(at, sizeBytes, holeBytes, true);
}

function* split(start: number, end: number, mostBytes: number, isHole: boolean): Generator<Piece> {
  for (let at = start; at < end; at += mostBytes) {
    yield { start: at, end: Math.min(at + mostBytes, end), isHole };
  }
}
