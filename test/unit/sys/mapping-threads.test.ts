/** One range of memory used by two threads: it stays mapped until both have let go. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createMemfd, Mapping } from '../../../src/sys/index.ts';
import type { CleanUp } from '../../support/image-folder.ts';
import type { AdopterCommand } from '../../support/mapping-adopter.ts';
import { isMapped } from '../../support/memory-maps.ts';

/** Another thread that has adopted a mapping. */
class Adopter {
  readonly #worker: Worker;

  constructor(t: CleanUp, mapping: Mapping) {
    const file = new URL('../../support/mapping-adopter.js', import.meta.url);
    this.#worker = new Worker(file, { workerData: mapping.handle() });
    t.after(() => void this.#worker.terminate());
  }

  async ask(command: AdopterCommand): Promise<unknown> {
    this.#worker.postMessage(command);
    const [answer] = await once(this.#worker, 'message');
    return answer;
  }
}

test('both threads see one memory; when the owner closes, the other reads zeros', async (t) => {
  using file = createMemfd('both', 65536);
  const mapping = Mapping.ofFile(file.number, 0, 65536);
  const adopter = new Adopter(t, mapping);
  const bytes = new Uint8Array(mapping.view(0, 4096));
  bytes[0] = 5;
  assert.equal(await adopter.ask('look'), 5);
  assert.equal(await adopter.ask('poke'), 77);
  assert.equal(bytes[0], 77);
  mapping.close();
  assert.equal(bytes[0], 0);
  assert.equal(await adopter.ask('look'), 0);
  await adopter.ask('close');
});

test('an owner without views that closes first leaves the unmapping to the adopter', async (t) => {
  const mapping = Mapping.anonymous(65536);
  const adopter = new Adopter(t, mapping);
  assert.equal(await adopter.ask('look'), 0);
  mapping.close();
  assert.equal(await adopter.ask('look'), 0);
  assert.ok(isMapped(mapping.address));
  await adopter.ask('close');
  assert.ok(!isMapped(mapping.address));
});

test('an owner that leaves takes nothing from the adopter', async (t) => {
  const mapping = Mapping.anonymous(65536);
  const adopter = new Adopter(t, mapping);
  assert.equal(await adopter.ask('poke'), 77);
  mapping.leave();
  mapping.close();
  assert.equal(await adopter.ask('look'), 77);
  await adopter.ask('close');
  assert.ok(!isMapped(mapping.address));
});

test('an adopter that closes first takes nothing from the owner', async (t) => {
  const mapping = Mapping.anonymous(65536);
  const adopter = new Adopter(t, mapping);
  const read = (): number => new Uint8Array(mapping.view(0, 1))[0];
  assert.equal(await adopter.ask('poke'), 77);
  await adopter.ask('close');
  assert.equal(read(), 77);
  assert.ok(isMapped(mapping.address));
  mapping.close();
});

test('every handle counts: the last of several adopters unmaps', () => {
  const mapping = Mapping.anonymous(65536);
  const first = Mapping.adopt(mapping.handle());
  const second = Mapping.adopt(mapping.handle());
  assert.deepEqual([first.address, first.sizeBytes], [mapping.address, 65536]);
  mapping.close();
  first.close();
  first.close();
  assert.ok(isMapped(mapping.address));
  second.close();
  assert.ok(!isMapped(mapping.address));
});
