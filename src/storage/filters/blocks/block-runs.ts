/** Ranges of bytes, cut where blocks begin to be of another kind. */

/** A range of bytes. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
}

/** Neighbouring blocks of one kind, or a part of them. */
export interface Run<Kind> extends Piece {
  readonly kind: Kind;
}

/** The runs of a range, in order; they cover it. @param kindOf - the kind of a block, by its number. */
export function runsOf<Kind>(
  offset: number,
  length: number,
  blockBytes: number,
  kindOf: (block: number) => Kind,
): Run<Kind>[] {
  const runs: Run<Kind>[] = [];
  const end = offset + length;
  for (let start = offset; start < end; ) {
    let block = Math.floor(start / blockBytes);
    const kind = kindOf(block);
    while ((block + 1) * blockBytes < end && kindOf(block + 1) === kind) block += 1;
    const stop = Math.min(end, (block + 1) * blockBytes);
    runs.push({ offset: start, length: stop - start, kind });
    start = stop;
  }
  return runs;
}

/** A range as whole blocks, and what is left of the first and the last of those it touches. */
export interface WholeAndEdges {
  /** Whole blocks: the first of them, and the first behind them. */
  readonly first: number;
  readonly end: number;
  /** Parts of blocks, at most two. */
  readonly edges: readonly Piece[];
}

/** @param diskBytes - the last block of a disk is whole though it may be shorter. */
export function wholeAndEdges(
  offset: number,
  length: number,
  blockBytes: number,
  diskBytes: number,
): WholeAndEdges {
  const stop = offset + length;
  const first = Math.ceil(offset / blockBytes);
  const end = stop === diskBytes ? Math.ceil(stop / blockBytes) : Math.floor(stop / blockBytes);
  if (end < first) return { first, end: first, edges: [{ offset, length }] };
  const edges: Piece[] = [];
  const head = Math.min(first * blockBytes, stop) - offset;
  if (head > 0) edges.push({ offset, length: head });
  const tailStart = Math.max(end * blockBytes, offset + head);
  if (tailStart < stop) edges.push({ offset: tailStart, length: stop - tailStart });
  return { first, end, edges };
}
