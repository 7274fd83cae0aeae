/** A queue that may leave requests to another back-end: each is answered, or left, and never both. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno, PENDING } from '../../../src/sys/index.ts';
import type { HaltMode } from '../../../src/vhost-user/index.ts';
import { RequestType } from '../../../src/virtio-blk/index.ts';
import {
  createDeviceRing,
  firstBase,
  inflightLogBytes,
  type RingFormat,
} from '../../../src/virtqueue/index.ts';
import { ALL_FEATURES } from '../../support/parser-bench.ts';
import { rangesPayload } from '../../support/request-bytes.ts';
import { ScriptedChannel } from '../../support/scripted-channel.ts';
import { ServedQueue } from '../../support/served-queue.ts';

const SIZE = 16;
const PACKED = 1n << 34n;
const CANCELED = -Errno.ECANCELED;
const FORMATS = ['split', 'packed'] as const;

/** A queue with a log, and a disk that leaves everything pending. */
class Rig implements Disposable {
  readonly channel: ScriptedChannel = new ScriptedChannel();
  readonly served: ServedQueue;
  readonly #format: RingFormat;
  readonly #inflight: { readonly memory: ArrayBuffer; readonly queueSize: number };
  isDrained = false;

  constructor(format: RingFormat) {
    this.#format = format;
    const memory = new ArrayBuffer(inflightLogBytes(SIZE, format));
    this.#inflight = { memory, queueSize: SIZE };
    this.channel.results = new Array(1000).fill(PENDING);
    this.served = new ServedQueue({
      openChannel: this.channel.open,
      features: format === 'packed' ? ALL_FEATURES | PACKED : ALL_FEATURES,
      size: SIZE,
      inflight: this.#inflight,
    });
  }

  drain(mode: HaltMode, hasLog = true): void {
    const onDrained = (): void => {
      this.isDrained = true;
    };
    this.served.queue.drain(onDrained, mode, hasLog);
    this.served.queue.poll();
  }

  /** What the next back-end finds. */
  get left(): number {
    const { ringMemory } = this.served;
    const base = firstBase(this.#format);
    const ring = createDeviceRing(this.#format, ringMemory, false, base, this.#inflight);
    assert.equal(ring.fault, undefined);
    return ring.unansweredCount;
  }

  [Symbol.dispose](): void {
    this.served[Symbol.dispose]();
  }
}

const flush = { type: RequestType.FLUSH };

test('what has not been done is left, what has been done is answered', () => {
  for (const format of FORMATS) {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: SIZE / 2 }), (isDone) => {
        using rig = new Rig(format);
        rig.served.send(...isDone.map(() => flush));
        while (rig.served.queue.poll());
        rig.drain('leave');
        assert.ok(rig.channel.isAbandoned);
        for (const each of isDone) {
          assert.equal(rig.isDrained, false, 'the disk has not let go of all of them');
          rig.channel.finish(each ? 0 : CANCELED);
          rig.served.queue.poll();
        }
        assert.equal(rig.isDrained, true);
        const answered = isDone.filter(Boolean).length;
        assert.equal(rig.served.answers().length, answered);
        assert.equal(rig.left, isDone.length - answered);
        assert.equal(rig.served.queue.inFlight, 0);
      }),
    );
  }
});

test('without a log to leave it in, everything is done', () => {
  for (const format of FORMATS) {
    using rig = new Rig(format);
    rig.served.send(flush);
    rig.drain('leave', false);
    assert.equal(rig.channel.isAbandoned, false);
    rig.channel.finish(0);
    rig.served.queue.poll();
    assert.deepEqual([rig.isDrained, rig.served.answers().length, rig.left], [true, 1, 0]);
  }
});

test('of what nobody waits for, only what the disk gives up is left', () => {
  for (const format of FORMATS) {
    using rig = new Rig(format);
    const payload = rangesPayload({ sector: 0, sectors: 8 }, { sector: 8, sectors: 8 });
    rig.served.send(flush, flush, { type: RequestType.DISCARD, payload });
    while (rig.served.queue.poll());
    rig.drain('abort');
    assert.deepEqual([rig.channel.isHastened, rig.channel.nobodyWaits], [true, true]);
    for (const result of [CANCELED, 0, 0, 0]) rig.channel.finish(result);
    rig.served.queue.poll();
    assert.deepEqual([rig.isDrained, rig.served.answers().length, rig.left], [true, 2, 1]);
    assert.equal(rig.channel.asked.length, 4, 'the other range was done, too');
  }
});

test('what nobody waits for fails where it cannot be left', () => {
  using rig = new Rig('split');
  rig.served.send(flush);
  rig.drain('abort', false);
  rig.channel.finish(CANCELED);
  rig.served.queue.poll();
  assert.deepEqual([rig.isDrained, rig.served.answers().length, rig.left], [true, 1, 0]);
});

test('of several ranges, those after the one under way are not begun', () => {
  for (const format of FORMATS) {
    using rig = new Rig(format);
    const payload = rangesPayload({ sector: 0, sectors: 8 }, { sector: 8, sectors: 8 });
    rig.served.send({ type: RequestType.DISCARD, payload });
    rig.drain('leave');
    rig.channel.finish(0);
    rig.served.queue.poll();
    assert.deepEqual([rig.isDrained, rig.served.answers().length, rig.left], [true, 0, 1]);
    assert.equal(rig.channel.asked.length, 1);
  }
});

test('what an earlier back-end has left is left once more', () => {
  for (const format of FORMATS) {
    using rig = new Rig(format);
    rig.served.send(flush, flush);
    while (rig.served.queue.poll());
    rig.drain('leave');
    rig.channel.finish(CANCELED);
    rig.channel.finish(CANCELED);
    rig.served.queue.poll();
    assert.equal(rig.left, 2);
    assert.equal(rig.left, 2, 'looking at it changes nothing');
  }
});

test('a disk is asked to hurry when all has to be answered, and to let go when not', () => {
  for (const leavesRest of [false, true]) {
    using rig = new Rig('split');
    rig.served.send(flush);
    assert.deepEqual([rig.channel.isHastened, rig.channel.isAbandoned], [false, false]);
    rig.drain(leavesRest ? 'leave' : 'finish');
    assert.deepEqual([rig.channel.isHastened, rig.channel.isAbandoned], [!leavesRest, leavesRest]);
    rig.channel.finish(0);
    rig.served.queue.poll();
    assert.ok(rig.isDrained);
  }
});
