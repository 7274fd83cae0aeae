import assert from 'node:assert/strict';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { test } from 'node:test';
import { setImmediate as nextEventLoopTurn } from 'node:timers/promises';
import { lendView, Mapping, takeBack } from '../../../src/sys/index.ts';

test('a view that was lent reaches the memory until it is taken back', () => {
  using mapping = Mapping.anonymous(4096);
  const memory = new Uint8Array(mapping.view(0, 4096));
  const view = lendView(mapping.address + 512, 1024);
  const part = view.subarray(512);
  const words = new DataView(view.buffer);
  view.fill(7);
  part.fill(8);
  words.setUint8(0, 9);
  assert.deepEqual([...memory.subarray(510, 514)], [0, 0, 9, 7]);
  assert.equal(memory[1024], 8);

  takeBack(view, mapping.address + 512);
  view[1] = 1;
  part[0] = 1;
  assert.equal(view.length, 0);
  assert.equal(part.length, 0);
  assert.throws(() => words.setUint8(0, 1), TypeError);
  assert.throws(() => new Uint8Array(view.buffer, 0, 8), TypeError);
  assert.throws(() => view.set([1]), TypeError);
  assert.deepEqual([...memory.subarray(510, 514)], [0, 0, 9, 7]);
  assert.equal(memory[1024], 8);
});

test('many views at a time are taken back one by one', () => {
  using mapping = Mapping.anonymous(64 * 4096);
  const views = Array.from({ length: 64 }, (_, index) =>
    lendView(mapping.address + index * 4096, 4096),
  );
  for (const [index, view] of views.entries()) {
    assert.equal(view.length, 4096);
    takeBack(view, mapping.address + index * 4096);
    assert.equal(view.length, 0);
  }
});

const MAJOR = constants.NODE_PERFORMANCE_GC_MAJOR;

/** Make garbage until V8 has collected all of it so many times, of its own accord. */
async function makeGarbage(collections: number): Promise<void> {
  let count = 0;
  const observer = new PerformanceObserver((list) => {
    const entries = list.getEntries() as unknown as {
      readonly detail: { readonly kind: number };
    }[];
    count += entries.filter(({ detail }) => detail.kind === MAJOR).length;
  });
  observer.observe({ entryTypes: ['gc'] });
  while (count < collections) {
    Array.from({ length: 200 }, (_, value) => new Array(20_000).fill(value));
    await nextEventLoopTurn();
  }
  observer.disconnect();
}

test('the same memory is lent again, and to several at a time', () => {
  using mapping = Mapping.anonymous(4096);
  const { address } = mapping;
  const memory = new Uint8Array(mapping.view(0, 4096));
  const first = lendView(address, 4096);
  takeBack(first, address);
  const [second, third] = [lendView(address, 4096), lendView(address, 4096)];
  second[0] = 2;
  third[1] = 3;
  assert.deepEqual([...memory.subarray(0, 2)], [2, 3]);
  assert.equal(first.length, 0, 'what has been taken back stays so');
  takeBack(second, address);
  assert.equal(third.length, 4096, 'the other is still lent');
  takeBack(third, address);
  assert.equal(third.length, 0);
  const shorter = lendView(address, 512);
  assert.equal(shorter.length, 512);
  assert.equal(shorter[1], 3);
  assert.ok(shorter.buffer instanceof ArrayBuffer);
  takeBack(shorter, address);
  const last = lendView(address, 512);
  assert.ok(last.buffer instanceof ArrayBuffer);
  takeBack(last, address);
});

test('however much memory is lent, what is kept stays bounded', () => {
  using mapping = Mapping.anonymous(40_000 * 512);
  for (let round = 0; round < 2; round++) {
    for (let at = 0; at < mapping.sizeBytes; at += 512) {
      const view = lendView(mapping.address + at, 512);
      view[0] += 1;
      takeBack(view, mapping.address + at);
    }
  }
  const memory = new Uint8Array(mapping.view(0, mapping.sizeBytes));
  assert.ok([0, 512, mapping.sizeBytes - 512].every((at) => memory[at] === 2));
});

test('views are taken back after a time without any', async () => {
  using mapping = Mapping.anonymous(4096);
  // V8 throws away the code of functions that have seen so many collections without a call.
  await makeGarbage(8);
  const view = lendView(mapping.address, 4096);
  takeBack(view, mapping.address);
  assert.equal(view.length, 0);
});

test('a view that has been taken back is taken back again', () => {
  using mapping = Mapping.anonymous(4096);
  const view = lendView(mapping.address, 4096);
  takeBack(view, mapping.address);
  takeBack(view, mapping.address);
  assert.equal(view.length, 0);
});
