/**
 * Where a frame of zstd ends (RFC 8878, 3.1.1): compressed clusters are followed by whatever lies
 * next to them, which decompressors take for another frame.
 */

const MAGIC = 0xfd2fb528;
/** Bytes of the frame's content size, by Frame_Content_Size_flag. */
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;
const DICTIONARY_BYTES = [0, 1, 2, 4] as const;
/** A frame that wants a larger window is refused: clusters have 2 MiB at most. */
const MAX_WINDOW_LOG = 23;
const BlockType = { RAW: 0, RLE: 1, COMPRESSED: 2 } as const;

/** The content size of a single segment whose size has four bytes. */
function contentSize(bytes: Buffer, descriptor: number): number {
  const at = 5 + DICTIONARY_BYTES[descriptor & 3];
  return at + 4 <= bytes.length ? bytes.readUInt32LE(at) : Number.POSITIVE_INFINITY;
}

/** Bytes of the frame that `bytes` begin with; `undefined`: they begin with none that is whole. */
export function zstdFrameBytes(bytes: Buffer): number | undefined {
  if (bytes.length < 5 || bytes.readUInt32LE(0) !== MAGIC) return undefined;
  const descriptor = bytes[4];
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const hasChecksum = (descriptor & 0x04) !== 0;
  const sizeBytes = CONTENT_SIZE_BYTES[descriptor >>> 6];
  const windowBytes = isSingleSegment ? 0 : 1;
  // The window's size is 2 ** (10 + its upper five bits), or a little more; of a single segment that
  // of the content, which takes eight bytes only if it is too large.
  if (isSingleSegment ? sizeBytes === 8 : 10 + (bytes[5] >>> 3) > MAX_WINDOW_LOG) return undefined;
  if (isSingleSegment && sizeBytes === 4 && contentSize(bytes, descriptor) > 2 ** MAX_WINDOW_LOG) {
    return undefined;
  }
  const contentBytes = isSingleSegment && sizeBytes === 0 ? 1 : sizeBytes;
  let at = 5 + windowBytes + DICTIONARY_BYTES[descriptor & 3] + contentBytes;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > bytes.length) return undefined;
    const header = bytes.readUIntLE(at, 3);
    isLast = (header & 1) !== 0;
    const type = (header >>> 1) & 3;
    if (type > BlockType.COMPRESSED) return undefined;
    at += 3 + (type === BlockType.RLE ? 1 : header >>> 3);
  }
  const end = at + (hasChecksum ? 4 : 0);
  return end <= bytes.length ? end : undefined;
}
