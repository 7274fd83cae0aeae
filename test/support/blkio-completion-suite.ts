/** Completions: what `doIo` waits for and hands out, and queues that are asked for too much. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CompletionList, type Queue } from '../../src/blkio/index.ts';
import type { BlkioPlace, PlacedDisk, Settings } from './blkio-place.ts';
import { doAll, drain, resultName, WAIT_MS, withCode } from './blkio-queue-results.ts';

const UNIT = 4096;

/** Settings for queues with few slots. */
export function fewSlots(place: BlkioPlace, slots: number): Settings {
  return place.driver === 'io_uring' ? { 'num-entries': slots } : { 'queue-size': slots };
}

async function startedQueue(disk: PlacedDisk, later?: Settings): Promise<Queue> {
  return (await disk.started({}, later)).queue(0);
}

function readBlocks(queue: Queue, count: number): Uint8Array {
  const buffer = new Uint8Array(UNIT);
  for (let index = 0; index < count; index++) queue.read(0, buffer, index);
  return buffer;
}

/** See the module's comment. */
export function completionSuite(place: BlkioPlace): void {
  const { name, skip } = place;
  suite(`completions, ${name}`, () => {
    test('each brings back what was given with its request', { skip }, async () => {
      await using disk = await place.start();
      const queue = await startedQueue(disk);
      const tokens = [0, 'text', null, undefined, { an: 'object' }, Symbol('s'), 2n ** 70n];
      for (const token of tokens) queue.read(0, new Uint8Array(UNIT), token);
      const back = drain(queue).map(({ userData }) => userData);
      assert.equal(back.length, tokens.length);
      assert.deepEqual(new Set(back), new Set(tokens));
    });

    test('no more than max, and the rest later', { skip }, async () => {
      await using disk = await place.start();
      const queue = await startedQueue(disk);
      readBlocks(queue, 10);
      const list = new CompletionList(10);
      assert.equal(queue.doIo(list, 3, 3, WAIT_MS), 3);
      assert.equal(queue.outstanding, 7);
      const first = list.userData.slice(0, 3);
      assert.equal(queue.doIo(list, 7, 10, WAIT_MS), 7);
      assert.equal(queue.outstanding, 0);
      const all = [...first, ...list.userData.slice(0, 7)].sort((a, b) => Number(a) - Number(b));
      assert.deepEqual(all, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    });

    test('with min 0 it does not wait, and gets there', { skip }, async () => {
      await using disk = await place.start();
      const queue = await startedQueue(disk);
      const list = new CompletionList(4);
      assert.equal(queue.doIo(list, 0), 0);
      readBlocks(queue, 4);
      const end = performance.now() + WAIT_MS;
      let done = 0;
      while (done < 4 && performance.now() < end) done += queue.doIo(list, 0);
      assert.equal(done, 4);
      assert.equal(queue.doIo(list, 0, 0), 0);
    });

    test('counts that make no sense: EINVAL', { skip }, async () => {
      await using disk = await place.start();
      const queue = await startedQueue(disk);
      readBlocks(queue, 2);
      const list = new CompletionList(4);
      for (const [min, max] of [
        [3, 4],
        [2, 1],
        [-1, 4],
        [0, -1],
        [0, 5],
        [0.5, 4],
        [Number.NaN, 4],
      ]) {
        assert.throws(() => queue.doIo(list, min, max), withCode('EINVAL'), `${min} to ${max}`);
      }
      for (const timeoutMs of [-1, Number.NaN]) {
        assert.throws(() => queue.doIo(list, 1, 2, timeoutMs), withCode('EINVAL'));
      }
      assert.equal(queue.outstanding, 2, 'nothing was handed out');
      assert.equal(queue.doIo(list, 2, 2, WAIT_MS), 2);
      assert.throws(() => queue.doIo(list, 1), withCode('EINVAL'), 'nothing is outstanding');
    });

    test('many more requests than slots are all done, once each', { skip }, async () => {
      await using disk = await place.start();
      const queue = await startedQueue(disk, fewSlots(place, 4));
      const count = 1000;
      readBlocks(queue, count);
      assert.equal(queue.outstanding, count);
      const done = drain(queue);
      assert.deepEqual(new Set(done.map(({ result }) => resultName(result))), new Set(['OK']));
      assert.equal(done.length, count);
      assert.equal(new Set(done.map(({ userData }) => userData)).size, count);
    });

    test('one wait for more than there are slots', { skip }, async () => {
      await using disk = await place.start();
      const queue = await startedQueue(disk, fewSlots(place, 4));
      readBlocks(queue, 50);
      const list = new CompletionList(50);
      assert.equal(queue.doIo(list, 50, 50, WAIT_MS), 50);
      assert.equal(new Set(list.userData).size, 50);
    });

    test('writes in line are of the data they had, and refusals keep their reason', {
      skip,
    }, async () => {
      await using disk = await place.start();
      const queue = await startedQueue(disk, fewSlots(place, 4));
      for (let index = 0; index < 100; index++) {
        if (index % 3 === 2) queue.read(-1, new Uint8Array(UNIT), index);
        else queue.write(index * UNIT, new Uint8Array(UNIT).fill(index + 1), index);
      }
      for (const { result, userData, message } of drain(queue)) {
        const isWrong = Number(userData) % 3 === 2;
        assert.equal(resultName(result), isWrong ? 'EINVAL' : 'OK', String(userData));
        assert.equal(message, isWrong ? 'offset -1' : undefined);
      }
      const image = disk.readImage();
      for (let index = 0; index < 100; index++) {
        assert.equal(image[index * UNIT + 17], index % 3 === 2 ? 0 : index + 1);
      }
    });

    test('many refusals in line', { skip }, async () => {
      await using disk = await place.start();
      const queue = await startedQueue(disk, fewSlots(place, 4));
      const buffer = new Uint8Array(UNIT);
      for (let index = 0; index < 20_000; index++) queue.read(-1, buffer, index);
      const results = drain(queue).map(({ result }) => resultName(result));
      assert.equal(results.length, 20_000);
      assert.ok(results.every((result) => result === 'EINVAL'));
    });
  });

  suite(`queues, ${name}`, () => {
    test('the smallest there are', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      for (const [property, slots] of Object.entries(fewSlots(place, 1))) {
        device.set(property, slots);
      }
      await device.start();
      const queue = device.queue(0);
      const segments = device.getTyped('max-segments', 'int');
      const buffers = Array.from({ length: Math.min(segments, 16) }, () => new Uint8Array(UNIT));
      doAll(queue, () => {
        queue.write(0, new Uint8Array(UNIT).fill(9));
        queue.writeZeroes(UNIT, UNIT, 'zeroes');
        queue.readv(0, buffers, 'readv');
        queue.flush();
      });
    });

    test('several work side by side', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started({}, { 'num-queues': 4 });
      const queues = [0, 1, 2, 3].map((index) => device.queue(index));
      for (const [index, queue] of queues.entries()) {
        for (let at = 0; at < 8; at++) {
          const data = new Uint8Array(UNIT).fill(1 + index * 8 + at);
          queue.write((index * 8 + at) * UNIT, data, at);
        }
      }
      for (const queue of queues.reverse()) assert.equal(drain(queue).length, 8);
      const image = disk.readImage();
      for (let at = 0; at < 32; at++) assert.equal(image[at * UNIT + 5], at + 1, `block ${at}`);
    });

    test('blocking and asynchronous ones of one device', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started({}, { 'num-queues': 2 });
      const [blocking, asynchronous] = [device.queue(0), device.asyncQueue(1)];
      await asynchronous.write(0, new Uint8Array(UNIT).fill(3));
      const buffer = new Uint8Array(UNIT);
      doAll(blocking, () => blocking.read(0, buffer));
      assert.ok(buffer.every((byte) => byte === 3));
    });

    if (place.driver === 'io_uring') return;
    test('poll queues, beside others', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started({}, { 'num-queues': 1, 'num-poll-queues': 2 });
      const [normal, ...polled] = [device.queue(0), device.pollQueue(0), device.pollQueue(1)];
      assert.throws(() => device.pollQueue(1), withCode('EBUSY'));
      assert.throws(() => device.pollQueue(2), withCode('ENOENT'));
      doAll(normal, () => normal.write(0, new Uint8Array(UNIT).fill(1)));
      for (const [index, queue] of polled.entries()) {
        doAll(queue, () => queue.write((index + 1) * UNIT, new Uint8Array(UNIT).fill(index + 2)));
      }
      const image = disk.readImage(0, 3 * UNIT);
      assert.deepEqual([image[0], image[UNIT], image[2 * UNIT]], [1, 2, 3]);
    });

    test('poll queues alone', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started({}, { 'num-queues': 0, 'num-poll-queues': 1 });
      const queue = device.pollQueue(0);
      assert.throws(() => device.queue(0), withCode('ENOENT'));
      readBlocks(queue, 300);
      assert.equal(drain(queue).length, 300);
    });
  });
}

/** Waits that end without what was waited for. */
export function waitSuite(place: BlkioPlace): void {
  const { name, skip } = place;
  const withPausedBackend = async (body: (queue: Queue) => void): Promise<void> => {
    await using disk = await place.start();
    const device = await disk.started();
    const queue = device.queue(0);
    doAll(queue, () => queue.flush());
    await disk.pauseBackend();
    try {
      body(queue);
    } finally {
      disk.resumeBackend();
    }
    // What was not waited for long enough is not lost.
    assert.deepEqual(
      drain(queue).map(({ result }) => resultName(result)),
      new Array(2).fill('OK'),
    );
  };

  suite(`waits, ${name}`, () => {
    test('an interruption: EINTR, once', { skip }, async () => {
      await withPausedBackend((queue) => {
        readBlocks(queue, 2);
        const list = new CompletionList(2);
        queue.interrupt();
        assert.equal(queue.doIo(list, 0), 0, 'nothing was waited for');
        assert.throws(() => queue.doIo(list, 1, 2, WAIT_MS), withCode('EINTR'));
        assert.equal(queue.outstanding, 2);
        assert.throws(() => queue.doIo(list, 1, 2, 0), withCode('ETIME'));
      });
    });

    test('the time is up: ETIME, no earlier', { skip }, async () => {
      await withPausedBackend((queue) => {
        readBlocks(queue, 2);
        const list = new CompletionList(2);
        for (const timeoutMs of [0, 1, 30]) {
          const startMs = performance.now();
          assert.throws(() => queue.doIo(list, 1, 2, timeoutMs), withCode('ETIME'));
          assert.ok(performance.now() - startMs >= timeoutMs, `${timeoutMs} ms`);
          assert.equal(queue.outstanding, 2);
        }
        assert.equal(queue.doIo(list, 0, 2, 10), 0, 'without a wait there is no time limit');
      });
    });
  });
}
