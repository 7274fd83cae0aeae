/** When a sleeping driver is called: what is left to serve must bridge its wake-up of 50 us. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { CallPacer } from '../../../src/virtio-blk/call-pacer.ts';

/** A clock of the test's own in place of the machine's. */
function clock(t: TestContext): { pass: (us: number) => void; reads: () => number } {
  let nowMs = 1000;
  const { mock } = t.mock.method(performance, 'now', () => nowMs);
  return {
    pass: (us) => {
      nowMs += us / 1000;
    },
    reads: () => mock.callCount(),
  };
}

/** A pacer that has seen many batches of 8 requests that took `requestUs` each. */
function pacerFor(requestUs: number, pass: (us: number) => void): CallPacer {
  const pacer = new CallPacer();
  for (let batch = 0; batch < 16 * 40; batch++) {
    pacer.begin(8);
    pass(8 * requestUs);
    pacer.end(8);
  }
  return pacer;
}

test('requests that take long: half of the batch is left, however short the wake-up', (t) => {
  const pacer = pacerFor(1000, clock(t).pass);
  assert.deepEqual(
    [1, 2, 8, 256].map((requests) => pacer.begin(requests)),
    [1, 1, 4, 128],
  );
});

test('quick requests: so many are left as take 50 us together', (t) => {
  const pacer = pacerFor(0.5, clock(t).pass);
  const held = [1, 64, 100, 120, 150, 256].map((requests) => Math.round(pacer.begin(requests)));
  assert.deepEqual(held, [1, 1, 1, 20, 50, 128]);
});

test('the time of a request is learnt anew when it changes', (t) => {
  const { pass } = clock(t);
  const pacer = pacerFor(1000, pass);
  assert.equal(pacer.begin(60), 30);
  for (let batch = 0; batch < 16 * 60; batch++) {
    pacer.begin(60);
    pass(60);
    pacer.end(60);
  }
  assert.ok(Math.abs(pacer.begin(60) - 10) < 1);
});

test('whatever was measured, at least one and at most half is finished before the call', (t) => {
  const { pass } = clock(t);
  for (const requestUs of [0, 0.001, 1, 49, 50, 51, 1e7]) {
    const pacer = pacerFor(requestUs, pass);
    for (let requests = 1; requests <= 300; requests++) {
      const held = pacer.begin(requests);
      assert.ok(held >= 1 && held <= Math.max(1, requests / 2), `${held} of ${requests}`);
    }
  }
});

test('looking at the clock is rare, and small batches are not timed at all', (t) => {
  const { pass, reads } = clock(t);
  pacerFor(1, pass);
  assert.equal(reads(), 2 * 40);
  const pacer = new CallPacer();
  for (let batch = 0; batch < 1000; batch++) {
    pacer.begin(3);
    pacer.end(3);
  }
  assert.equal(reads(), 2 * 40);
});
