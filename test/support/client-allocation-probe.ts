/**
 * Program: makes many requests on a blocking queue, in a memory region, and prints how many bytes
 * of heap each left behind.
 *
 * Arguments: driver, path, `read` or `write`, offset of the first request, `name=text` for
 * properties.
 */
import { Blkio, CompletionList, MemoryRegion, type Queue } from '../../src/blkio/index.ts';
import { bytesPerRequest } from './heap-growth.ts';

/** As many as there may be under way. */
const BATCH = 128;
const BLOCK = 4096;
const REQUESTS = 100_000;

const [driver, path, kind, start, ...assignments] = process.argv.slice(2);

/** One batch after the other, without any allocation on the user's side. */
class Load {
  readonly #queue: Queue;
  readonly #buffers: readonly Uint8Array[];
  /** Of any type, so that large numbers are not taken out of their boxes, and put into new ones. */
  readonly #offsets: readonly unknown[];
  readonly #completions = new CompletionList(BATCH);

  constructor(queue: Queue, memory: Uint8Array) {
    this.#queue = queue;
    const indices = Array.from({ length: BATCH }, (_, index) => index);
    this.#buffers = indices.map((index) => memory.subarray(index * BLOCK, (index + 1) * BLOCK));
    this.#offsets = [...indices.map((index) => Number(start) + index * BLOCK), 'of any type'];
  }

  run(requests: number): void {
    const queue = this.#queue;
    const completions = this.#completions;
    for (let done = 0; done < requests; done += BATCH) {
      for (let index = 0; index < BATCH; index++) this.#ask(index);
      queue.doIo(completions, BATCH);
      for (let index = 0; index < BATCH; index++) {
        if (completions.results[index] !== 0) throw new Error('a request has failed');
      }
    }
  }

  #ask(index: number): void {
    const offset = this.#offsets[index] as number;
    const buffer = this.#buffers[index];
    if (kind === 'write') this.#queue.write(offset, buffer, index);
    else this.#queue.read(offset, buffer, index);
  }
}

using device = new Blkio(driver);
device.set('path', path);
for (const assignment of assignments) {
  const [name, text] = assignment.split('=');
  device.setText(name, text);
}
await device.connect();
await device.start();
using region = MemoryRegion.allocate(BATCH * BLOCK);
await device.mapRegion(region);
const queue = device.queue(0);
const load = new Load(queue, region.view(0, region.sizeBytes));
const bytes = bytesPerRequest((requests) => load.run(requests), REQUESTS);
if (queue.bounced > 0) throw new Error('the region was not used');
process.stdout.write(JSON.stringify(bytes));
device.close();
