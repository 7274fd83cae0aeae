/**
 * Views of mapped memory that are taken back: for code that is not ours.
 *
 * SAFETY: the memory stays mapped until the view has been taken back. From then on the view has no
 * bytes, and its buffer makes no other: V8 moves the memory to another buffer, which is kept here for
 * the next view of the same memory, because making one anew takes a microsecond. A buffer that is
 * kept is an address and a length, no claim to the memory: it is lent only to who asks for that
 * address, which has to be mapped then.
 *
 * Only what the kernel, or a thread of Node's pool, was given before may still be at the memory;
 * whoever lends says what that takes.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { viewMemory } from './libc.ts';

/** Buffers that are kept at most; then all are made anew. */
const MAX_KEPT = 16384;
/** In place of a buffer that is lent. */
const LENT = new ArrayBuffer(0);

/** By address. */
const kept = new Map<number, ArrayBuffer>();

/** Move a buffer's memory to a new one; the old one has none then, nor have its views. */
const move: (buffer: ArrayBuffer) => ArrayBuffer = chooseMove();

function chooseMove(): (buffer: ArrayBuffer) => ArrayBuffer {
  // What V8 has of late (Node.js 22), and TypeScript's library does not know yet.
  type Transfer = (this: ArrayBuffer) => ArrayBuffer;
  const { transfer } = ArrayBuffer.prototype as { transfer?: Transfer };
  if (transfer !== undefined) return (buffer) => transfer.call(buffer);
  // Before that it has it behind a flag, for contexts that are made while it is set.
  setFlagsFromString('--harmony-rab-gsab-transfer');
  const prototype = runInNewContext('ArrayBuffer.prototype') as { readonly transfer: Transfer };
  setFlagsFromString('--no-harmony-rab-gsab-transfer');
  // Buffers that it makes are of that context: they are to be of this one, too, for who asks.
  Object.setPrototypeOf(prototype, ArrayBuffer.prototype);
  const early = prototype.transfer;
  return (buffer) => early.call(buffer);
}

/** A view of `sizeBytes` bytes at an address, until `takeBack`. At least one byte. */
export function lendView(address: number, sizeBytes: number): Uint8Array<ArrayBuffer> {
  const buffer = kept.get(address);
  if (buffer === undefined || buffer.byteLength !== sizeBytes) {
    return new Uint8Array(viewMemory(address, sizeBytes));
  }
  kept.set(address, LENT);
  return new Uint8Array(buffer);
}

/**
 * End a view that was lent of `address`: it, and all others of its buffer, have no bytes any more.
 *
 * @returns false if that cannot be: whoever it was lent to has transferred the buffer, and the
 * memory with it.
 */
export function takeBack(view: Uint8Array<ArrayBuffer>, address: number): boolean {
  if (view.buffer.byteLength === 0) return false;
  const buffer = move(view.buffer);
  if (kept.size >= MAX_KEPT) kept.clear();
  kept.set(address, buffer);
  return true;
}
