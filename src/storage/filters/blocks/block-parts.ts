/** Requests, cut at the boundaries of blocks. */

/** The part of a request that is in one block. */
export interface BlockPart {
  readonly block: number;
  /** Within the block, and within the request. Bytes. */
  readonly start: number;
  readonly at: number;
  readonly length: number;
}

/** The parts of a range, in order. */
export function blockParts(offset: number, length: number, blockBytes: number): BlockPart[] {
  const parts: BlockPart[] = [];
  for (let at = 0; at < length; ) {
    const start = (offset + at) % blockBytes;
    const part = Math.min(blockBytes - start, length - at);
    parts.push({ block: (offset + at - start) / blockBytes, start, at, length: part });
    at += part;
  }
  return parts;
}
