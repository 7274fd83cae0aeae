/**
 * The scripted session that faults are put into: all kinds of requests, several at a time, with a
 * model that knows what must be there, whatever has failed.
 */
import assert from 'node:assert/strict';
import { DiskFlag, DiskOperation } from '../../src/storage/index.ts';
import type { DiskSession, Piece, Request } from './disk-session.ts';
import { patternBytes } from './request-bytes.ts';

/** Bytes of the disk. */
export const SESSION_DISK_BYTES: number = 256 * 1024;
const PART_BYTES = 128 * 1024;

type Kind = 'read' | 'write' | 'stable' | 'flush' | 'discard' | 'zero' | 'unmap' | 'stable-zero';

/** Kind, offset, bytes, and an offset of the memory from a page. */
type Line = readonly [kind: Kind, offset?: number, bytes?: number, skew?: number];

/** Requests of one batch are under way at the same time. */
const SCRIPT: readonly (readonly Line[])[] = [
  [
    ['write', 0, 8192],
    ['write', 8192, 4096, 512],
    ['read', 65536, 16384],
  ],
  [['flush'], ['write', 12288, 4096]],
  // Parts of pages and of blocks, at addresses that direct I/O can't reach.
  [
    ['write', 16384 + 512, 1024, 1001],
    ['stable', 20480, 8192],
    ['stable', 32768, 1536, 77],
  ],
  [['flush'], ['flush'], ['read', 0, 32768, 9]],
  [
    ['discard', 40960, 8192],
    ['zero', 49152, 12288],
    ['unmap', 65536, 8192],
    ['read', 4096, 512],
  ],
  [
    ['stable-zero', 73728 + 512, 3072],
    ['write', 81920, 16384],
    ['stable', 98304, 512],
  ],
  [['flush'], ['write', 110592, 4096], ['read', 81920, 16384]],
  [['flush']],
  [['read', 0, 131072]],
];

/** Requests in all. */
export const SESSION_REQUESTS: number = SCRIPT.flat().length;

/** What became of a request. */
export interface Outcome {
  readonly kind: Kind;
  readonly batch: number;
  readonly slot: number;
  readonly result: number;
}

/** See the module's comment. */
export class FaultedSession {
  readonly outcomes: Outcome[] = [];
  readonly #session: DiskSession;
  /** What each byte must be, or may be as well after a request that failed. */
  readonly #content: Buffer;
  readonly #otherwise: Buffer;

  /** @param content - what the disk holds. */
  constructor(session: DiskSession, content: Uint8Array) {
    this.#session = session;
    this.#content = Buffer.from(content);
    this.#otherwise = Buffer.from(content);
  }

  run(): void {
    SCRIPT.forEach((lines, batch) => {
      const seed = batch * 16 + 1;
      const requests = lines.map((line, slot) => this.#request(line, slot, seed));
      const results = this.#session.runAll(requests);
      lines.forEach((line, slot) => {
        const result = results[slot];
        this.outcomes.push({ kind: line[0], batch, slot, result });
        this.#account(line, slot, seed, result);
      });
    });
  }

  /** Throws unless bytes are what the session's results allow. */
  check(bytes: Uint8Array, about: string): void {
    this.#compare(Buffer.from(bytes), 0, about);
  }

  #pieces([, , bytes = 0, skew = 0]: Line, slot: number): Piece[] {
    const at = slot * PART_BYTES + skew;
    // Two pieces where that is possible in whole sectors.
    const first = bytes >= 4096 ? bytes / 2 : bytes;
    const rest = bytes - first;
    const start = { at, bytes: first };
    return rest === 0 ? [start] : [start, { at: at + first + 4096, bytes: rest }];
  }

  #request(line: Line, slot: number, seed: number): Request {
    const [kind, offset = 0, length = 0] = line;
    const { memory } = this.#session;
    if (kind === 'flush') return { operation: DiskOperation.FLUSH };
    if (kind === 'discard') return { operation: DiskOperation.DISCARD, offset, length };
    const pieces = this.#pieces(line, slot);
    if (kind === 'read') {
      for (const { at, bytes } of pieces) memory.fill(0xee, at, at + bytes);
      return { operation: DiskOperation.READ, offset, pieces };
    }
    if (kind === 'write' || kind === 'stable') {
      const data = patternBytes(length, seed + slot);
      let done = 0;
      for (const { at, bytes } of pieces) {
        memory.set(data.subarray(done, done + bytes), at);
        done += bytes;
      }
      const flags = kind === 'stable' ? DiskFlag.STABLE : 0;
      return { operation: DiskOperation.WRITE, offset, pieces, flags };
    }
    const flags = { zero: 0, unmap: DiskFlag.UNMAP, 'stable-zero': DiskFlag.STABLE }[kind];
    return { operation: DiskOperation.WRITE_ZEROES, offset, length, flags };
  }

  #account(line: Line, slot: number, seed: number, result: number): void {
    const [kind, offset = 0, length = 0] = line;
    if (kind === 'flush') return;
    if (kind === 'read') {
      if (result === 0) this.#checkRead(line, slot);
      return;
    }
    const isWrite = kind === 'write' || kind === 'stable';
    const bytes = isWrite ? patternBytes(length, seed + slot) : Buffer.alloc(length);
    this.#otherwise.set(bytes, offset);
    // A discard is a hint: what was there may be there.
    if (result === 0 && kind !== 'discard') this.#content.set(bytes, offset);
  }

  #checkRead(line: Line, slot: number): void {
    const { memory } = this.#session;
    const parts = this.#pieces(line, slot).map(({ at, bytes }) => memory.subarray(at, at + bytes));
    this.#compare(Buffer.concat(parts), line[1] ?? 0, 'a read that was answered well');
  }

  #compare(bytes: Buffer, offset: number, about: string): void {
    for (let index = 0; index < bytes.length; index++) {
      const at = offset + index;
      const isAllowed = bytes[index] === this.#content[at] || bytes[index] === this.#otherwise[at];
      if (isAllowed) continue;
      assert.fail(`${about}: byte ${at} is ${bytes[index]}, not ${this.#content[at]}`);
    }
  }
}
