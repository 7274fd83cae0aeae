/** The event-driven way: queues whose users sleep until a completion descriptor is readable. */
import assert from 'node:assert/strict';
import { readSync } from 'node:fs';
import { suite, test } from 'node:test';
import { type Blkio, CompletionList, type Queue } from '../../src/blkio/index.ts';
import { type EngineName, EpollSet, isSignalled } from '../../src/sys/index.ts';
import { fewSlots } from './blkio-completion-suite.ts';
import type { BlkioPlace, PlacedDisk, Settings } from './blkio-place.ts';
import { doAll, resultName, WAIT_MS, withCode } from './blkio-queue-results.ts';
import { chooseEngine } from './chosen-engine.ts';
import { EventDrivenLoad, loadContent } from './event-driven-load.ts';
import { eventually } from './eventually.ts';
import { openDescriptors } from './open-descriptors.ts';
import { missingEngine } from './reactors.ts';
import { awaitReadable, becomesReadable, HANG_MS } from './readable-descriptor.ts';

const UNIT = 4096;
const REQUESTS = 10_000;
const QUEUES = 4;
/** Longer than a call from the back-end takes that is on its way; a late one makes for another try. */
const QUIET_MS = 20;

function readBlocks(queue: Queue, count: number): void {
  for (let index = 0; index < count; index++) queue.read(0, new Uint8Array(UNIT), index);
}

async function eventQueue(disk: PlacedDisk, later?: Settings): Promise<Queue> {
  return (await disk.started({}, later)).queue(0, { completionFd: true });
}

/** Take what there is, until the descriptor says that there is nothing, and stays with it. */
function settle(queue: Queue): void {
  const list = new CompletionList(64);
  const endMs = performance.now() + HANG_MS;
  do {
    assert.ok(performance.now() < endMs, 'it is readable for ever');
    queue.doIo(list, 0);
  } while (becomesReadable(queue.completionFd, QUIET_MS));
}

/** Descriptors of the kinds that queues are made of. */
function countDescriptors(): number {
  const kinds = /anon_inode:\[(eventfd|eventpoll|io_uring)\]/;
  return openDescriptors().filter((line) => kinds.test(line)).length;
}

/** See the module's comment. */
export function eventSuite(place: BlkioPlace, engine: EngineName): void {
  const skip = place.skip || (missingEngine(engine) ?? false);
  suite(`event-driven, ${place.name}, ${engine}`, () => {
    chooseEngine(engine);

    for (const [what, slots, max] of [
      ['all at a time', undefined, undefined],
      ['they wait for the only slot, and are taken one by one', 1, 1],
    ] as const) {
      test(`no completion is slept through: ${what}`, { skip }, async () => {
        await using disk = await place.start({ content: loadContent() });
        const queue = await eventQueue(disk, slots === undefined ? {} : fewSlots(place, slots));
        queue.setCompletionFdEnabled(true);
        const options = { total: REQUESTS, seed: 1, ...(max === undefined ? {} : { max }) };
        using load = new EventDrivenLoad(queue, options);
        load.run();
        assert.equal(queue.outstanding, 0);
        settle(queue);
      });
    }

    test('several queues and one wait for all of them', { skip }, async () => {
      await using disk = await place.start({ content: loadContent() });
      const device = await disk.started({}, { 'num-queues': QUEUES });
      const loads = Array.from({ length: QUEUES }, (_, index) => {
        const queue = device.queue(index, { completionFd: true });
        queue.setCompletionFdEnabled(true);
        return new EventDrivenLoad(queue, { total: REQUESTS / QUEUES, seed: index });
      });
      using set = new EpollSet();
      for (const { queue } of loads) set.add(queue.completionFd);
      for (const load of loads) load.takeAll();
      while (loads.some(({ isDone }) => !isDone)) {
        const readable = set.wait(HANG_MS);
        assert.notEqual(readable.length, 0, 'a wake-up was lost');
        for (const load of loads) if (readable.includes(load.queue.completionFd)) load.takeAll();
      }
      for (const load of loads) load[Symbol.dispose]();
    });

    test('one request at a time takes few wake-ups', { skip }, async () => {
      await using disk = await place.start();
      const queue = await eventQueue(disk);
      queue.setCompletionFdEnabled(true);
      const list = new CompletionList(1);
      const count = 500;
      let wakeUps = 0;
      for (let request = 0; request < count; request++) {
        readBlocks(queue, 1);
        for (let taken = queue.doIo(list, 0); taken === 0; taken = queue.doIo(list, 0)) {
          awaitReadable(queue.completionFd);
          wakeUps += 1;
        }
      }
      assert.ok(wakeUps <= 3 * count, `${wakeUps} for ${count} requests`);
    });

    test('not readable while it is not enabled', { skip }, async () => {
      await using disk = await place.start();
      const queue = await eventQueue(disk);
      const { completionFd } = queue;
      const list = new CompletionList(8);
      const expectQuiet = (): void => assert.ok(!isSignalled(completionFd));
      expectQuiet();
      readBlocks(queue, 8);
      expectQuiet();
      queue.doIo(list, 3, 3, WAIT_MS);
      expectQuiet();
      queue.doIo(list, 5, 5, WAIT_MS);
      expectQuiet();
      queue.setCompletionFdEnabled(true);
      readBlocks(queue, 8);
      queue.doIo(list, 0, 0);
      awaitReadable(completionFd);
      queue.setCompletionFdEnabled(false);
      expectQuiet();
      queue.doIo(list, 7, 7, WAIT_MS);
      expectQuiet();
      queue.setCompletionFdEnabled(true);
      awaitReadable(completionFd);
      queue.doIo(list, 1, 1, WAIT_MS);
    });

    test('readable when it is enabled after requests were done', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started({}, { 'num-queues': 2 });
      const [queue, other] = [0, 1].map((index) => device.queue(index, { completionFd: true }));
      for (let round = 0; round < 50; round++) {
        readBlocks(queue, 1 + (round % 5));
        queue.doIo(new CompletionList(1), 0, 0);
        // Meanwhile they may be done, and their notifications come and gone.
        doAll(other, () => readBlocks(other, round));
        queue.setCompletionFdEnabled(true);
        awaitReadable(queue.completionFd);
        queue.setCompletionFdEnabled(false);
        doAll(queue, () => {});
      }
    });

    test('readable for as long as max leaves some', { skip }, async () => {
      await using disk = await place.start();
      const queue = await eventQueue(disk);
      queue.setCompletionFdEnabled(true);
      readBlocks(queue, 32);
      const list = new CompletionList(32);
      let taken = queue.doIo(list, 0, 0);
      while (queue.outstanding > 0) {
        awaitReadable(queue.completionFd);
        awaitReadable(queue.completionFd);
        taken += queue.doIo(list, 0, 3);
      }
      assert.equal(taken, 32);
      settle(queue);
    });

    test('a wait in doIo leaves it as it was', { skip }, async () => {
      await using disk = await place.start();
      const queue = await eventQueue(disk);
      queue.setCompletionFdEnabled(true);
      const list = new CompletionList(4);
      for (let round = 0; round < 50; round++) {
        readBlocks(queue, 4);
        queue.doIo(list, 2, 2, WAIT_MS);
        awaitReadable(queue.completionFd);
        queue.doIo(list, 2, 4, WAIT_MS);
      }
      settle(queue);
    });

    test('requests that are refused make it readable, too', { skip }, async () => {
      await using disk = await place.start();
      const queue = await eventQueue(disk);
      queue.setCompletionFdEnabled(true);
      settle(queue);
      queue.read(-UNIT, new Uint8Array(UNIT), 'wrong');
      awaitReadable(queue.completionFd);
      const list = new CompletionList(1);
      assert.equal(queue.doIo(list, 0), 1);
      assert.equal(resultName(list.results[0]), 'EINVAL');
      settle(queue);
    });
  });
}

/** Queues without a completion descriptor, and the end of those that have one. */
export function completionFdSuite(place: BlkioPlace): void {
  const { skip } = place;
  suite(`completion descriptors, ${place.name}`, () => {
    test('a queue that was opened without: ENOTSUP', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started({}, { 'num-queues': 3 });
      const queues = [
        device.queue(0),
        device.queue(1, {}),
        device.queue(2, { completionFd: false }),
      ];
      for (const queue of queues) {
        assert.throws(() => queue.completionFd, withCode('ENOTSUP'));
        assert.throws(() => queue.setCompletionFdEnabled(true), withCode('ENOTSUP'));
        doAll(queue, () => readBlocks(queue, 2));
      }
    });

    test('it is not to be read from', { skip }, async () => {
      await using disk = await place.start();
      const queue = await eventQueue(disk);
      assert.throws(() => readSync(queue.completionFd, new Uint8Array(8)), { code: 'EINVAL' });
    });

    test('everything is closed with the queue', { skip }, async () => {
      await using disk = await place.start();
      const open = async (): Promise<Blkio> => {
        const device = await disk.started({}, { 'num-queues': 2 });
        for (const index of [0, 1]) {
          const queue = device.queue(index, { completionFd: true });
          queue.setCompletionFdEnabled(index === 1);
          doAll(queue, () => readBlocks(queue, 2));
        }
        return device;
      };
      // Things that are made once in a process.
      (await open()).close();
      const before = countDescriptors();
      (await open()).close();
      await eventually(
        () => `${countDescriptors()} descriptors are open, ${before} were`,
        () => countDescriptors() <= before,
      );
    });

    if (place.driver === 'virtio-blk-vhost-user') return;
    test('and when a queue is removed', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.started();
      const before = openDescriptors();
      const queue = device.queue(0, { completionFd: true });
      queue.setCompletionFdEnabled(true);
      doAll(queue, () => readBlocks(queue, 2));
      assert.ok(openDescriptors().length > before.length);
      device.removeQueue(0);
      assert.deepEqual(openDescriptors(), before);
    });
  });
}
