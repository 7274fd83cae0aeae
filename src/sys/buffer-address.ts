/**
 * Where a buffer lies in memory.
 *
 * SAFETY: the address is good as long as somebody holds on to the buffer, which is neither
 * transferred nor resized. The memory of an ArrayBuffer does not move; that of a small typed array
 * that never had one does, so the caller asks for its `buffer` first (as `view.buffer` does).
 */
import { libc } from './libc.ts';

/** Address of a view's first byte. The view is not empty. */
export function bufferAddress(view: Uint8Array): number {
  void view.buffer;
  // A copy of no bytes returns its destination.
  return libc.memmove(view, null, 0);
}
