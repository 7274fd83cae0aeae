/**
 * A device next to a model of its disk: random requests, several of them under way, from mapped and
 * other memory, checked against the model and against the file on the host.
 */
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { MemoryRegion, type Queue, RequestFlag } from '../../src/blkio/index.ts';
import { fewSlots } from './blkio-completion-suite.ts';
import { type BlkioPlace, DISK_BYTES } from './blkio-place.ts';
import { doAll, readBytes } from './blkio-queue-results.ts';
import { propertyOptions } from './property-options.ts';
import { assertSameBytes, patternBytes } from './request-bytes.ts';

const MAX_BLOCKS = 16;
const BATCH = 24;

/** One random request, in blocks. */
interface Step {
  readonly kind: 'read' | 'write' | 'zero' | 'flush';
  readonly block: number;
  readonly blocks: number;
  readonly flags: number;
  /** Where its memory is: in a mapped region or not. */
  readonly isMapped: boolean;
  /** Lengths of buffers; the last one takes the rest. */
  readonly cuts: readonly number[];
  readonly seed: number;
}

function batchArbitrary(blockCount: number): fc.Arbitrary<Step[]> {
  const { FUA, NO_UNMAP } = RequestFlag;
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom('read', 'read', 'write', 'write', 'zero', 'flush'),
    block: fc.nat(blockCount - 1),
    blocks: fc.integer({ min: 1, max: MAX_BLOCKS }),
    flags: fc.constantFrom(0, 0, FUA, NO_UNMAP, FUA | NO_UNMAP),
    isMapped: fc.boolean(),
    cuts: fc.oneof(
      fc.constant([]),
      fc.array(fc.constantFrom(512, 4096, 8192), { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 5 }),
    ),
    seed: fc.nat(1000),
  });
  return fc
    .array(step, { minLength: 1, maxLength: BATCH, size: 'max' })
    .map((steps) => withoutOverlap(steps, blockCount));
}

/** The order of requests under way is undefined: none may touch a block of another. */
function withoutOverlap(steps: readonly Step[], blockCount: number): Step[] {
  const taken = new Set<number>();
  return steps.filter(({ block, blocks }) => {
    if (block + blocks > blockCount) return false;
    const range = Array.from({ length: blocks }, (_, at) => block + at);
    if (range.some((each) => taken.has(each))) return false;
    for (const each of range) taken.add(each);
    return true;
  });
}

/** Memory of a step as a list of buffers. */
function cutUp(memory: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const buffers: Uint8Array[] = [];
  let at = 0;
  for (const cut of cuts) {
    if (at + cut >= memory.length) break;
    buffers.push(memory.subarray(at, at + cut));
    at += cut;
  }
  buffers.push(memory.subarray(at));
  return buffers;
}

/** See the module's comment. */
class ModelledDevice {
  readonly #queues: readonly Queue[];
  readonly #model: Uint8Array;
  readonly #memory: Uint8Array;
  readonly #blockBytes: number;

  constructor(queues: readonly Queue[], model: Uint8Array, memory: Uint8Array, blockBytes: number) {
    this.#queues = queues;
    this.#model = model;
    this.#memory = memory;
    this.#blockBytes = blockBytes;
  }

  run(batch: readonly Step[]): void {
    const checks = batch.map((step, index) => this.#start(step, index));
    for (const queue of this.#queues) doAll(queue, () => {});
    for (const check of checks) check();
  }

  /** Make a request. Returns what there is to check when it is done. */
  #start(step: Step, index: number): () => void {
    const { kind, flags, cuts, seed } = step;
    const offset = step.block * this.#blockBytes;
    const length = step.blocks * this.#blockBytes;
    const expected = this.#model.subarray(offset, offset + length);
    const area = index * MAX_BLOCKS * this.#blockBytes;
    const memory = step.isMapped
      ? this.#memory.subarray(area, area + length)
      : new Uint8Array(length);
    const queue = this.#queues[index % this.#queues.length];
    const name = JSON.stringify(step);
    switch (kind) {
      case 'read':
        memory.fill(0xee);
        if (cuts.length === 0) queue.read(offset, memory, name);
        else queue.readv(offset, cutUp(memory, cuts), name);
        return () => assertSameBytes(memory, expected, name);
      case 'write':
        memory.set(patternBytes(length, seed));
        expected.set(memory);
        if (cuts.length === 0) queue.write(offset, memory, name, flags & RequestFlag.FUA);
        else queue.writev(offset, cutUp(memory, cuts), name, flags & RequestFlag.FUA);
        return () => {};
      case 'zero':
        expected.fill(0);
        queue.writeZeroes(offset, length, name, flags);
        return () => {};
      case 'flush':
        queue.flush(name);
        return () => {};
    }
  }
}

/** See the module's comment. The disk keeps what is written. */
export function modelSuite(place: BlkioPlace): void {
  const { name, blockBytes, skip } = place;
  suite(`model, ${name}`, () => {
    for (const slots of [4, 128]) {
      test(`random batches, ${slots} slots a queue`, { skip }, async () => {
        const content = patternBytes(DISK_BYTES);
        await using disk = await place.start({ content });
        using region = MemoryRegion.allocate(BATCH * MAX_BLOCKS * blockBytes);
        const device = await disk.started({}, { 'num-queues': 2, ...fewSlots(place, slots) });
        await device.mapRegion(region);
        const queues = [device.queue(0), device.queue(1)];
        const memory = region.view(0, region.sizeBytes);
        const modelled = new ModelledDevice(queues, content, memory, blockBytes);
        const batches = fc.array(batchArbitrary(DISK_BYTES / blockBytes), { maxLength: 6 });
        fc.assert(
          fc.property(batches, (each) => {
            for (const batch of each) modelled.run(batch);
          }),
          { ...propertyOptions(40), endOnFailure: true },
        );
        assertSameBytes(readBytes(queues[0], 0, DISK_BYTES), content, 'device');
        assertSameBytes(disk.readImage(), content, 'file');
      });
    }
  });
}
