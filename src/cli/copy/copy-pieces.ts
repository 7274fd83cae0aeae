/** What pieces a copy of a sparse file has. */
import type { DataRange } from '../../sys/index.ts';

/** A piece of a copy: data to look at, or a hole. */
export interface Piece extends DataRange {
  readonly isHole: boolean;
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
