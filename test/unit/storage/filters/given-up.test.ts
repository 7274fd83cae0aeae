/** Filters made of objects: a request that nobody waits for any more is given up below them, too. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  cache,
  checksum,
  copyOnWrite,
  type DiskLike,
  type DiskObject,
  log,
  type ObjectRequest,
  openAccess,
  openDisk,
  snapshot,
} from '../../../../src/storage/index.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { memoryObject } from '../../../support/memory-object.ts';
import { within } from '../../../support/within.ts';

const BYTES = 2 ** 20;
const LENGTH = 65536;

/** A disk whose requests end when they are given up, once it is held. */
class PatientObject implements DiskObject {
  readonly sizeBytes = BYTES;
  readonly #content = Buffer.alloc(BYTES, 1);
  isHeld = false;
  asked: (() => void) | undefined;

  #answer(request: ObjectRequest, action: () => void): void | Promise<void> {
    if (!this.isHeld) return action();
    const { signal } = request;
    this.asked?.();
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('given up')));
    });
  }

  read(buffer: Uint8Array, offset: number, request: ObjectRequest): void | Promise<void> {
    return this.#answer(request, () => {
      buffer.set(this.#content.subarray(offset, offset + buffer.length));
    });
  }

  write(buffer: Uint8Array, offset: number, request: ObjectRequest): void | Promise<void> {
    return this.#answer(request, () => this.#content.set(buffer, offset));
  }
}

type Operation = 'read' | 'write';

const FILTERS: readonly [
  string,
  readonly Operation[],
  (below: DiskLike, side: string) => DiskLike,
][] = [
  ['log', ['read', 'write'], (below, side) => log(below, { file: side })],
  ['cache', ['write'], (below) => cache(below, { size: BYTES, readAhead: 0 })],
  ['copy-on-write', ['read'], (below, overlay) => copyOnWrite(below, { overlay })],
  ['checksum', ['read'], (below, file) => checksum(below, { file })],
  ['snapshot', ['read', 'write'], (below, file) => snapshot(below, { file })],
];

for (const [name, operations, make] of FILTERS) {
  test(`${name}: ${operations.join(', ')} below are given up with the request`, async (t) => {
    const object = new PatientObject();
    const disk = await openDisk(make(object, join(imageFolder(t), 'side')));
    const access = openAccess(disk);
    for (const operation of operations) {
      // Of whole blocks, and of a part of one.
      for (const length of [LENGTH, 512]) {
        const controller = new AbortController();
        const { signal } = controller;
        object.isHeld = true;
        const asked = new Promise<void>((resolve) => {
          object.asked = resolve;
        });
        const done = Promise.resolve(access[operation](new Uint8Array(length), 0, { signal }));
        const rejected = assert.rejects(done, { code: 'ECANCELED' });
        await within(asked, `${operation} below`);
        controller.abort();
        await within(rejected, `${operation} is given up`);
        object.isHeld = false;
        const found = new Uint8Array(512);
        await access.read(found, 0);
        assert.equal(found[0], 1, 'the disk goes on, as it was');
      }
    }
    access.close();
    await disk.close();
  });
}

test('nobody makes a signal that nobody asks for', async (t) => {
  const side = join(imageFolder(t), 'side');
  const disk = await openDisk(
    log(copyOnWrite(memoryObject(new Uint8Array(BYTES))), { file: side }),
  );
  const access = openAccess(disk);
  let made = 0;
  const Original = globalThis.AbortController;
  globalThis.AbortController = class extends Original {
    constructor() {
      super();
      made += 1;
    }
  };
  t.after(() => {
    globalThis.AbortController = Original;
  });
  await access.read(new Uint8Array(LENGTH), 0);
  await access.write(new Uint8Array(LENGTH), 0);
  assert.equal(made, 0);
  access.close();
  await disk.close();
});
