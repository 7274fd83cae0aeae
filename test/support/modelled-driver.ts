/** Requests of our own driver of a served disk, next to a model of it: many under way at once. */
import type { AsyncQueue } from '../../src/blkio/index.ts';
import type { DiskModel } from './disk-model.ts';
import { type Outcome, runFaultyBatch, type Step } from './modelled-access.ts';

/** Memory in pieces, for a step. */
function piecesOf(memory: Uint8Array, { skew, seed }: Step): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (let size = 512 + (skew & 1) * (seed % 3000); seed % 3 !== 0; size *= 2) {
    if (at + size >= memory.length || pieces.length === 8) break;
    pieces.push(memory.subarray(at, at + size));
    at += size;
  }
  pieces.push(memory.subarray(at));
  return pieces;
}

/** See the module's comment. A batch takes turns with the queues. */
export class ModelledDriver {
  readonly model: DiskModel;
  readonly #queues: readonly AsyncQueue[];
  readonly #canCompare: boolean;

  /** @param canCompare - the disk keeps what is written. */
  constructor(queues: readonly AsyncQueue[], model: DiskModel, canCompare = true) {
    this.#queues = queues;
    this.model = model;
    this.#canCompare = canCompare;
  }

  /** Do a batch, all of which must end well. */
  async run(batch: readonly Step[]): Promise<void> {
    for (const outcome of await this.runFaulty(batch)) if (outcome !== undefined) throw outcome;
  }

  /** Do a batch of which some may fail; none touches what another does. */
  runFaulty(batch: readonly Step[]): Promise<Outcome[]> {
    return runFaultyBatch(batch, {
      model: this.model,
      canCompare: this.#canCompare,
      request: (step, index, memory) =>
        this.#request(step, this.#queues[index % this.#queues.length], memory),
    });
  }

  #request(step: Step, queue: AsyncQueue, memory: Uint8Array): Promise<void> {
    const { at, bytes, kind, mayUnmap, stable } = step;
    const offset = this.model.offsetOf(at);
    const options = { fua: stable };
    switch (kind) {
      case 'read':
        return queue.readv(offset, piecesOf(memory, step));
      case 'write':
        return queue.writev(offset, piecesOf(memory, step), options);
      case 'zero':
        return queue.writeZeroes(offset, bytes, { ...options, noUnmap: !mayUnmap });
      case 'discard':
        return queue.discard(offset, bytes);
      case 'flush':
        return queue.flush();
    }
  }

  /** Read all of the model's range and compare. */
  async check(): Promise<void> {
    for (const { at, bytes } of this.model.parts) {
      const flags = { stable: false, mayUnmap: false, skew: 0, seed: 1 };
      await this.run([{ ...flags, kind: 'read', at, bytes }]);
    }
  }
}
