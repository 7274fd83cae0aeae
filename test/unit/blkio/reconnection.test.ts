/** When attempts to connect again are made, and when they end. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Reconnection } from '../../../src/blkio/drivers/virtio-blk-vhost-user/reconnection.ts';

/** Times at which attempts were made, on a clock that is set by hand. */
async function attemptsWithin(
  totalMs: number,
  options: { firstDelayMs: number; limit: number; succeedAt?: number; stopAtMs?: number },
): Promise<{ times: number[]; given: unknown[] }> {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const times: number[] = [];
    const given: unknown[] = [];
    let nowMs = 0;
    const reconnection = new Reconnection({
      ...options,
      attempt: async () => {
        times.push(nowMs);
        if (times.length !== options.succeedAt) throw new Error(`attempt ${times.length}`);
      },
      onGiveUp: (error) => given.push(error),
    });
    for (; nowMs < totalMs; ) {
      if (nowMs === options.stopAtMs) reconnection.stop();
      nowMs += 50;
      mock.timers.tick(50);
      for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    }
    assert.equal(reconnection.attempts, times.length);
    return { times, given };
  } finally {
    mock.timers.reset();
  }
}

test('each wait is twice as long as the last, up to 5 s', async () => {
  const { times, given } = await attemptsWithin(30_000, { firstDelayMs: 500, limit: 0 });
  assert.deepEqual(times, [500, 1500, 3500, 7500, 12_500, 17_500, 22_500, 27_500]);
  assert.deepEqual(given, []);
});

test('none follow one that succeeds', async () => {
  const { times } = await attemptsWithin(5000, { firstDelayMs: 100, limit: 0, succeedAt: 2 });
  assert.deepEqual(times, [100, 300]);
});

test('the limit ends them, once, with the last error', async () => {
  const { times, given } = await attemptsWithin(5000, { firstDelayMs: 100, limit: 3 });
  assert.deepEqual(times, [100, 300, 700]);
  assert.deepEqual(
    given.map((error) => String(error)),
    ['Error: attempt 3'],
  );
});

test('none follow a stop', async () => {
  const options = { firstDelayMs: 100, limit: 0, stopAtMs: 200 };
  const { times, given } = await attemptsWithin(5000, options);
  assert.deepEqual(times, [100]);
  assert.deepEqual(given, []);
});
