/**
 * Requests on a device, many at a time, next to a model of what the disk holds: what was written
 * with success is there, each request ends once, and none fails.
 */
import assert from 'node:assert/strict';
import type { AsyncQueue } from '../../src/blkio/index.ts';
import { assertSameBytes, patternBytes } from './request-bytes.ts';

const BLOCK_BYTES = 4096;

/** See the module's comment. */
export class ClientLoad {
  readonly #queues: readonly AsyncQueue[];
  readonly #model: Uint8Array;
  readonly #lanes: Promise<void>[];
  #isStopped = false;
  /** Requests that have ended. */
  done = 0;

  /** Each lane has blocks of its own, and one request at a time. */
  constructor(queues: readonly AsyncQueue[], sizeBytes: number, lanes: number) {
    this.#queues = queues;
    this.#model = new Uint8Array(sizeBytes);
    this.#lanes = Array.from({ length: lanes }, (_, lane) => this.#runLane(lane, lanes));
    // Seen by whoever stops the load.
    for (const lane of this.#lanes) lane.catch(() => {});
  }

  async #runLane(lane: number, lanes: number): Promise<void> {
    const queue = this.#queues[lane % this.#queues.length];
    const blocks = Math.floor(this.#model.length / BLOCK_BYTES / lanes);
    const buffer = new Uint8Array(BLOCK_BYTES);
    for (let round = 1; !this.#isStopped; round++) {
      const offset = (lane * blocks + (round % blocks)) * BLOCK_BYTES;
      const expected = this.#model.subarray(offset, offset + BLOCK_BYTES);
      if (round % 5 === 0) {
        await queue.writeZeroes(offset, BLOCK_BYTES);
        expected.fill(0);
      } else {
        const data = patternBytes(BLOCK_BYTES, round * lanes + lane);
        await queue.write(offset, data, { fua: round % 3 === 0 });
        expected.set(data);
      }
      await queue.read(offset, buffer);
      assertSameBytes(buffer, expected, `block at ${offset}`);
      if (round % 7 === 0) await queue.flush();
      this.done += 1;
    }
  }

  /** Let all requests end, and return what the disk holds. Rejects if one has failed. */
  async stop(): Promise<Uint8Array> {
    this.#isStopped = true;
    await Promise.all(this.#lanes);
    for (const { outstanding } of this.#queues) assert.equal(outstanding, 0);
    return this.#model;
  }
}
