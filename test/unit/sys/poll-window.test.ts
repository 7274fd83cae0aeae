/** When to poll before sleeping, on a clock that moves a microsecond with every reading. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { PollWindow } from '../../../src/sys/reactor/poll-window.ts';

const WINDOW_US = 50;

/** Let the clock move by `stepUs` whenever somebody reads it. Returns how to read it quietly. */
function fakeClock(t: TestContext, stepUs: number): () => number {
  let nowUs = 1000;
  t.mock.method(performance, 'now', () => {
    nowUs += stepUs;
    return nowUs / 1000;
  });
  return () => nowUs;
}

/** Wait without work: how many looks are taken before the sleep. */
function waitInVain(window: PollWindow): number {
  let looks = 0;
  while (window.keepPolling()) {
    looks += 1;
    assert.ok(looks < 100_000, 'polls forever');
  }
  window.sleeping();
  return looks;
}

test('a window of 0 never polls', (t) => {
  fakeClock(t, 1);
  const window = new PollWindow(0);
  for (let count = 0; count < 200; count++) assert.equal(waitInVain(window), 0);
  assert.ok(!window.isPolling);
});

test('a fresh window polls for its time, then sleeps', (t) => {
  const readUs = fakeClock(t, 1);
  const window = new PollWindow(WINDOW_US);
  assert.ok(window.isPolling);
  const startedUs = readUs();
  assert.ok(waitInVain(window) > 0);
  const polledUs = readUs() - startedUs;
  assert.ok(polledUs >= WINDOW_US && polledUs <= WINDOW_US + 2, `polled for ${polledUs} us`);
  assert.ok(!window.isPolling, 'a first try in vain is enough');
});

test('every window starts its time anew', (t) => {
  const readUs = fakeClock(t, 1);
  const window = new PollWindow(WINDOW_US);
  for (let count = 0; count < 20; count++) {
    for (let look = 0; look < 100; look++) assert.ok(window.keepPolling());
    window.worked();
  }
  const startedUs = readUs();
  waitInVain(window);
  assert.ok(readUs() - startedUs >= WINDOW_US);
});

test('work while polling earns credit for 8 windows in vain, no more', (t) => {
  fakeClock(t, 1);
  const window = new PollWindow(WINDOW_US);
  for (let count = 0; count < 100; count++) {
    window.keepPolling();
    window.worked();
  }
  for (let count = 0; count < 8; count++) {
    assert.ok(window.isPolling, `after ${count} windows in vain`);
    assert.ok(waitInVain(window) > 0);
  }
  assert.ok(!window.isPolling);
});

test('work that a sleep brought earns nothing', (t) => {
  fakeClock(t, 1);
  const window = new PollWindow(WINDOW_US);
  waitInVain(window);
  for (let count = 0; count < 10; count++) window.worked();
  assert.ok(!window.isPolling);
});

test('new tries come after 2 sleeps, then after twice as many, at most 64', (t) => {
  fakeClock(t, 1);
  const window = new PollWindow(WINDOW_US);
  assert.ok(waitInVain(window) > 0);
  const sleepsBetweenTries: number[] = [];
  let sleeps = 1;
  while (sleepsBetweenTries.length < 8) {
    if (waitInVain(window) > 0) {
      sleepsBetweenTries.push(sleeps);
      sleeps = 0;
    }
    sleeps += 1;
  }
  assert.deepEqual(sleepsBetweenTries, [2, 4, 8, 16, 32, 64, 64, 64]);
});

test('a try that pays makes the next pause short again', (t) => {
  fakeClock(t, 1);
  const window = new PollWindow(WINDOW_US);
  for (let count = 0; count < 200; count++) waitInVain(window);
  while (!window.isPolling) waitInVain(window);
  window.keepPolling();
  window.worked();
  assert.ok(waitInVain(window) > 0);
  assert.ok(waitInVain(window) > 0, 'one credit was there, one was earned');
  assert.equal(waitInVain(window), 0);
  assert.ok(waitInVain(window) > 0, 'a new try after 2 sleeps');
});
