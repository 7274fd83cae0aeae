/** Pause, resume, drain, slots that run out, memory that changes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GuestMemory } from '../../../src/memory/index.ts';
import { PENDING } from '../../../src/sys/index.ts';
import { RequestType } from '../../../src/virtio-blk/index.ts';
import { ScriptedChannel } from '../../support/scripted-channel.ts';
import { ServedQueue } from '../../support/served-queue.ts';

const { FLUSH } = RequestType;
const flush = { type: FLUSH };

test('a paused queue takes nothing, finishes what it has, and goes on when resumed', () => {
  const channel = new ScriptedChannel();
  channel.results = [PENDING];
  using served = new ServedQueue({ openChannel: channel.open });
  served.send(flush);
  served.queue.pause();
  served.send(flush);
  assert.equal(served.queue.base, 1);
  assert.equal(served.queue.prepareToSleep(), true, 'there is nothing it may do');
  channel.finish(0);
  assert.equal(served.queue.poll(), true);
  assert.equal(served.answers().length, 1);
  assert.equal(served.queue.poll(), false);
  served.queue.resume();
  assert.equal(served.queue.prepareToSleep(), false, 'there is a request');
  served.queue.poll();
  assert.equal(served.answers().length, 1);
});

test('a drain calls back when the last answer is visible, and takes nothing new', () => {
  const channel = new ScriptedChannel();
  channel.results = [PENDING, PENDING];
  using served = new ServedQueue({ openChannel: channel.open });
  let drained = 0;
  served.send(flush, flush);
  served.queue.drain(() => {
    drained += 1;
    assert.equal(served.driver.usedCount(), 2, 'the driver can see all answers');
  });
  served.send(flush);
  channel.finish(0, 1);
  served.queue.poll();
  assert.equal(drained, 0);
  channel.finish(0);
  assert.equal(drained, 0, 'not before it is published');
  served.queue.poll();
  assert.equal(drained, 1);
  served.queue.poll();
  assert.equal(drained, 1);
  assert.equal(served.queue.base, 2);
  served.queue.close();
  assert.ok(channel.isClosed);
});

test('a queue with nothing under way is drained at once', () => {
  using served = new ServedQueue();
  served.ask(flush);
  let isDrained = false;
  served.queue.drain(() => {
    isDrained = true;
  });
  assert.ok(isDrained);
});

test('more requests than slots wait in the ring, and are not slept over', () => {
  const channel = new ScriptedChannel();
  channel.results = new Array(6).fill(PENDING);
  using served = new ServedQueue({ openChannel: channel.open, slots: 2 });
  served.send(flush, flush, flush, flush, flush);
  served.queue.poll();
  assert.equal(channel.pending, 2);
  assert.equal(served.queue.poll(), false);
  assert.equal(served.queue.prepareToSleep(), true, 'only a completion can help');
  let answered = 0;
  while (answered < 5) {
    channel.finish(0);
    served.queue.poll();
    answered += served.answers().length;
  }
  assert.equal(channel.asked.length, 5);
  assert.equal(served.queue.prepareToSleep(), true);
});

test('memory may be replaced between requests, and not under one', () => {
  const channel = new ScriptedChannel();
  channel.results = [PENDING];
  using served = new ServedQueue({ openChannel: channel.open });
  served.send(flush);
  assert.throws(() => served.queue.replaceMemory(served.memory), /under a request/);
  assert.throws(() => served.queue.close(), /under way/);
  channel.finish(0);
  served.queue.poll();
  served.answers();
  served.queue.replaceMemory(new GuestMemory([]));
  served.send(flush);
  assert.deepEqual(served.broken, ['request without a byte for its status']);
});

test('a ring without kicks is to be looked at often, one with kicks never', () => {
  using polled = new ServedQueue({ isPolled: true });
  using kicked = new ServedQueue();
  assert.ok(polled.queue.maxSleepMs > 0 && polled.queue.maxSleepMs <= 1);
  assert.equal(kicked.queue.maxSleepMs, Number.POSITIVE_INFINITY);
});
