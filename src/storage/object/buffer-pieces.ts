/** Memory in several pieces, as one. */

/** Bytes in all. */
export function lengthOf(buffers: readonly Uint8Array[]): number {
  let length = 0;
  for (const buffer of buffers) length += buffer.length;
  return length;
}

/** The bytes from `start` to `end` of all: views. */
export function partOf(buffers: readonly Uint8Array[], start: number, end: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const buffer of buffers) {
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, buffer.length);
    if (from < to) parts.push(buffer.subarray(from, to));
    at += buffer.length;
  }
  return parts;
}
