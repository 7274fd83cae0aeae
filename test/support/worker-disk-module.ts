/** A module whose disk shows, and does, what a worker's disk may: see worker-disk.test.ts. */
import { EventEmitter } from 'node:events';
import { existsSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import type { DiskAccess, DiskObject, ModuleParameters } from '../../src/storage/index.ts';

const SECTOR_BYTES = 512;
/** For an answer to get out before its thread ends. */
const SOON_MS = 50;

class ModuleDisk extends EventEmitter implements DiskObject {
  sizeBytes: number;
  readonly description = `a disk in thread ${threadId}`;
  readonly #content: Uint8Array;
  readonly #image: DiskAccess | undefined;
  readonly #gate: string;
  #isHolding = false;

  /**
   * @param gate - a file.
   * @param image - is read, if there is one.
   */
  constructor(sizeBytes: number, gate: string, image: DiskAccess | undefined) {
    super();
    this.#gate = gate;
    this.#image = image;
    this.sizeBytes = sizeBytes;
    this.#content = new Uint8Array(2 * sizeBytes);
  }

  async read(buffer: Uint8Array, offset: number): Promise<void> {
    if (this.#isHolding) await new Promise(() => {});
    await this.#image?.read(buffer, offset);
    if (this.#image === undefined)
      buffer.set(this.#content.subarray(offset, offset + buffer.length));
  }

  /** The first byte of a write to the last sector is an order. */
  async write(buffer: Uint8Array, offset: number): Promise<void> {
    const isOrder = offset === this.sizeBytes - SECTOR_BYTES;
    const order = isOrder ? String.fromCharCode(buffer[0]) : '';
    if (order === 'e') throw Object.assign(new Error('no room in here'), { code: 'ENOSPC' });
    if (order === 'd') setTimeout(() => fail('the disk has died'), SOON_MS);
    if (order === 'x') setTimeout(() => process.exit(7), SOON_MS);
    if (order === 'h') this.#isHolding = true;
    if (order === 's') blockUntil(this.#gate);
    if (order === 'g') {
      this.sizeBytes *= 2;
      this.emit('resize');
    }
    this.#content.set(buffer, offset);
  }

  async flush(): Promise<void> {}
}

/** Keep the thread busy until there is a file. */
function blockUntil(path: string): void {
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  while (!existsSync(path)) Atomics.wait(nothing, 0, 0, 10);
}

function fail(text: string): never {
  throw new Error(text);
}

export default function create(
  { sectors = '64', fault, gate = '' }: ModuleParameters,
  image?: DiskAccess,
): DiskObject {
  if (fault === 'throw') fail('not today');
  if (fault === 'exit') process.exit(3);
  return new ModuleDisk(Number(sectors) * SECTOR_BYTES, String(gate), image);
}
