/**
 * Copies of data, first in, first out, in memory that is used again and again: fresh memory for each
 * copy would cost several times as much as the copying.
 */

const CHUNK_BYTES = 2 ** 20;

/** See the module's comment. Positions count from the beginning, and are never given twice. */
export class CopiedBytes {
  /** Where the first chunk begins, and the next copy. */
  #start = 0;
  #end = 0;
  readonly #chunks: Buffer[] = [];
  readonly #spare: Buffer[] = [];

  /** Where the next copy will be. */
  get end(): number {
    return this.#end;
  }

  /** Add a copy. */
  add(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const chunk = this.#chunkAt(this.#end);
      const at = this.#end % CHUNK_BYTES;
      const count = Math.min(CHUNK_BYTES - at, bytes.length - done);
      chunk.set(bytes.subarray(done, done + count), at);
      done += count;
      this.#end += count;
    }
  }

  #chunkAt(position: number): Buffer {
    const index = Math.floor((position - this.#start) / CHUNK_BYTES);
    if (index === this.#chunks.length) {
      this.#chunks.push(this.#spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES));
    }
    return this.#chunks[index];
  }

  /** What was copied to a position: views, good until it is dropped. */
  views(position: number, length: number): Uint8Array[] {
    const found: Uint8Array[] = [];
    for (let at = position; at < position + length; ) {
      const within = at % CHUNK_BYTES;
      const count = Math.min(CHUNK_BYTES - within, position + length - at);
      found.push(this.#chunkAt(at).subarray(within, within + count));
      at += count;
    }
    return found;
  }

  /** Copies before a position are not needed any more. */
  dropBefore(position: number): void {
    while (position - this.#start >= CHUNK_BYTES) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) this.#spare.push(chunk);
      this.#start += CHUNK_BYTES;
    }
  }
}
