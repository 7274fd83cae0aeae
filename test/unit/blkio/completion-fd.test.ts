/** When a queue's completion descriptor is readable, on a device that does as it is told. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CompletionFd } from '../../../src/blkio/completion-fd.ts';
import type { DeviceLimits } from '../../../src/blkio/driver.ts';
import { CompletionList } from '../../../src/blkio/index.ts';
import { MappedRegions } from '../../../src/blkio/mapped-regions.ts';
import { Queue } from '../../../src/blkio/queue.ts';
import { QueueCore } from '../../../src/blkio/queue-core.ts';
import { RequestRules } from '../../../src/blkio/request-rules.ts';
import {
  createReactor,
  type EngineName,
  isSignalled,
  PENDING,
  type PollSource,
  type Reactor,
} from '../../../src/sys/index.ts';
import { missingEngine } from '../../support/reactors.ts';
import { ScriptedChannel } from '../../support/scripted-channel.ts';

const SLOTS = 4;
const SIZE_BYTES = 65536;
const UNIT = 512;

/** A source of a reactor as a test wants it. */
class ScriptedSource implements PollSource {
  isReady = true;
  maxSleepMs: number = Number.POSITIVE_INFINITY;
  /** Called in every turn. */
  onPoll: () => void = () => {};

  poll(): boolean {
    this.onPoll();
    return false;
  }

  prepareToSleep(): boolean {
    return this.isReady;
  }
}

/** A queue, its device, and a look at its descriptor. */
class Bench implements Disposable {
  readonly channel = Object.assign(new ScriptedChannel(), {
    needsEventLoop: false,
    flush: () => {},
  });
  readonly source = new ScriptedSource();
  readonly reactor: Reactor;
  readonly queue: Queue;
  readonly list = new CompletionList(16);

  constructor(engine: EngineName) {
    this.reactor = createReactor('attached', engine).reactor;
    const limits = { requestAlignment: 1, maxTransfer: 0, maxSegments: 1 } as DeviceLimits;
    const { channel } = this;
    this.queue = new Queue({
      reactor: this.reactor,
      isPolled: false,
      slots: SLOTS,
      completionFd: new CompletionFd(this.reactor),
      openCore: (onComplete) =>
        new QueueCore({
          slots: SLOTS,
          rules: new RequestRules(limits, () => SIZE_BYTES),
          regions: new MappedRegions(),
          onComplete,
          openChannel: (requests, handler) => channel.open(requests, handler),
        }),
      onClose: () => {},
    });
    this.reactor.addSource(this.source);
  }

  get isReadable(): boolean {
    return isSignalled(this.queue.completionFd);
  }

  /** Make requests that are done when the test says so. */
  ask(count: number): void {
    for (let request = 0; request < count; request++) {
      this.channel.results.push(PENDING);
      this.queue.read(0, new Uint8Array(UNIT), request);
    }
  }

  /** Let so many be done, outside of `doIo`. */
  finish(count: number): void {
    for (let request = 0; request < count; request++) this.channel.finish(0);
  }

  /** Let one be done in the next turn, before any sleep. */
  finishInTurn(): void {
    const { source } = this;
    source.isReady = false;
    source.onPoll = () => {
      source.isReady = true;
      source.onPoll = () => {};
      this.finish(1);
    };
  }

  /** `doIo` without a wait. */
  take(max?: number): number {
    return this.queue.doIo(this.list, 0, max);
  }

  [Symbol.dispose](): void {
    this.queue.close();
  }
}

for (const engine of ['io_uring', 'epoll'] as const) {
  const missing = missingEngine(engine);
  if (missing !== undefined) {
    test(`completion descriptor: ${engine}`, { skip: missing }, () => {});
    continue;
  }
  suite(`completion descriptor: ${engine}`, () => {
    test('is readable while requests are done and not taken, if it is enabled', () => {
      using bench = new Bench(engine);
      bench.ask(3);
      assert.equal(bench.take(), 0);
      bench.finish(1);
      assert.ok(!bench.isReadable, 'not at first');
      bench.queue.setCompletionFdEnabled(true);
      assert.ok(bench.isReadable, 'done before');
      assert.equal(bench.take(), 1);
      assert.ok(!bench.isReadable, 'all taken');
      bench.finish(2);
      assert.ok(bench.isReadable, 'done later');
      bench.queue.setCompletionFdEnabled(false);
      assert.ok(!bench.isReadable, 'disabled');
      bench.queue.setCompletionFdEnabled(true);
      assert.ok(bench.isReadable, 'and enabled again');
      assert.equal(bench.take(), 2);
      assert.ok(!bench.isReadable);
    });

    test('stays readable for what max leaves', () => {
      using bench = new Bench(engine);
      bench.queue.setCompletionFdEnabled(true);
      bench.ask(3);
      bench.finish(3);
      for (let left = 3; left > 0; left--) {
        assert.ok(bench.isReadable, `${left} left`);
        assert.equal(bench.take(0), 0);
        assert.ok(bench.isReadable, `${left} left, still`);
        assert.equal(bench.take(1), 1);
      }
      assert.ok(!bench.isReadable);
    });

    test('counts requests that are done as soon as they have a slot', () => {
      using bench = new Bench(engine);
      bench.queue.setCompletionFdEnabled(true);
      bench.ask(SLOTS);
      // These wait in line, and are refused when it is their turn.
      for (let request = 0; request < 3; request++) bench.queue.read(-1, new Uint8Array(UNIT));
      assert.equal(bench.take(), 0);
      assert.ok(!bench.isReadable);
      bench.finish(1);
      assert.equal(bench.take(1), 1);
      assert.ok(bench.isReadable, 'the first in line');
      assert.equal(bench.take(), 3);
      assert.ok(!bench.isReadable);
      bench.finish(SLOTS - 1);
      assert.equal(bench.take(), SLOTS - 1);
    });

    test('is right after a wait that failed', () => {
      using bench = new Bench(engine);
      bench.queue.setCompletionFdEnabled(true);
      bench.ask(2);
      const waitForTwo = (): void => {
        assert.throws(() => bench.queue.doIo(bench.list, 2, 2, 0), { code: 'ETIME' });
      };
      waitForTwo();
      assert.ok(!bench.isReadable);
      bench.finish(1);
      waitForTwo();
      assert.ok(bench.isReadable);
      assert.equal(bench.take(), 1);
      assert.throws(() => bench.queue.doIo(bench.list, 2), { code: 'EINVAL' });
      bench.finish(1);
      assert.throws(() => bench.queue.doIo(bench.list, 2), { code: 'EINVAL' });
      assert.ok(bench.isReadable, 'a wrong call changes nothing');
      assert.equal(bench.take(), 1);
    });

    test('a wait takes what it waited for', () => {
      using bench = new Bench(engine);
      bench.queue.setCompletionFdEnabled(true);
      bench.ask(2);
      bench.finishInTurn();
      assert.equal(bench.queue.doIo(bench.list, 1), 1);
      assert.ok(!bench.isReadable);
      bench.finishInTurn();
      assert.equal(bench.take(), 1);
      assert.ok(!bench.isReadable);
    });

    test('is readable while a source has work, or nobody would tell when it has', () => {
      using bench = new Bench(engine);
      bench.queue.setCompletionFdEnabled(true);
      assert.ok(!bench.isReadable);
      bench.source.isReady = false;
      assert.equal(bench.take(), 0);
      assert.ok(bench.isReadable);
      bench.source.isReady = true;
      assert.equal(bench.take(), 0);
      assert.ok(!bench.isReadable);
      const timer = bench.reactor.after(60_000, () => {});
      assert.ok(bench.isReadable, 'asked for outside of doIo');
      assert.equal(bench.take(), 0);
      assert.ok(bench.isReadable, 'a timer');
      timer.cancel();
      assert.equal(bench.take(), 0);
      assert.ok(!bench.isReadable);
    });

    test('is readable once the reactor is to be looked after', () => {
      using bench = new Bench(engine);
      bench.reactor.requestTurn();
      bench.queue.setCompletionFdEnabled(true);
      assert.ok(!bench.isReadable, 'nobody listened');
      bench.reactor.requestTurn();
      assert.ok(bench.isReadable);
      assert.equal(bench.take(), 0);
      assert.ok(!bench.isReadable);
    });

    test('who would sleep for ever is told: ENOTCONN', () => {
      using bench = new Bench(engine);
      const { channel, queue } = bench;
      channel.needsEventLoop = true;
      bench.ask(2);
      assert.equal(bench.take(), 0, 'not enabled');
      queue.setCompletionFdEnabled(true);
      assert.throws(() => bench.take(), { code: 'ENOTCONN' });
      bench.finish(1);
      assert.ok(bench.isReadable);
      assert.equal(bench.take(0), 0, 'there is something');
      assert.equal(bench.take(), 1);
      assert.throws(() => bench.take(), { code: 'ENOTCONN' });
      channel.needsEventLoop = false;
      assert.equal(bench.take(), 0);
      bench.finish(1);
      channel.needsEventLoop = true;
      assert.equal(bench.take(), 1);
      assert.equal(bench.take(), 0, 'nothing is outstanding');
    });
  });
}
