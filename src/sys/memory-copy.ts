/**
 * Copies between addresses.
 *
 * SAFETY: both ranges are mapped for as long as the call takes, and do not overlap.
 */
import { libc } from './libc.ts';

/** Copy `bytes` bytes from one address to another. */
export function copyMemory(target: number, source: number, bytes: number): void {
  libc.memcpy(target, source, bytes);
}
