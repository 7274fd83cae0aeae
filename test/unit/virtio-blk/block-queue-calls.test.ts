/** Whether and how often the driver is called, and when it has to kick. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventFd, drainEvent, PENDING } from '../../../src/sys/index.ts';
import { featureSet, RequestType } from '../../../src/virtio-blk/index.ts';
import { RingFeature } from '../../../src/virtqueue/index.ts';
import { ALL_FEATURES } from '../../support/parser-bench.ts';
import { ScriptedChannel } from '../../support/scripted-channel.ts';
import { ServedQueue } from '../../support/served-queue.ts';

const flush = { type: RequestType.FLUSH };
const EVENT_IDX = ALL_FEATURES | featureSet(RingFeature.EVENT_IDX);

function pendingChannel(requests: number): ScriptedChannel {
  const channel = new ScriptedChannel();
  channel.results = new Array(requests).fill(PENDING);
  return channel;
}

test('what the disk finishes within a turn is shown with one call', () => {
  for (const features of [ALL_FEATURES, EVENT_IDX]) {
    const channel = pendingChannel(8);
    using served = new ServedQueue({ openChannel: channel.open, features });
    served.send(...new Array(8).fill(flush));
    while (served.queue.poll());
    assert.equal(channel.pending, 8);
    for (let done = 0; done < 8; done++) channel.finish(0);
    assert.equal(served.driver.usedCount(), 0, 'nothing is shown before the turn');
    assert.equal(served.queue.poll(), true);
    assert.equal(served.driver.usedCount(), 8);
    assert.equal(served.takeCalls(), 1);
    assert.equal(served.counted().calls, 1);
  }
});

test('a driver that looks for itself is never called', () => {
  using served = new ServedQueue();
  served.driver.suppressCalls();
  served.send(...new Array(20).fill(flush));
  assert.equal(served.answers().length, 20);
  assert.equal(served.takeCalls(), 0);
});

test('with EVENT_IDX, a driver is called when as many are used as it waits for', () => {
  using served = new ServedQueue({ features: EVENT_IDX });
  assert.equal(served.driver.requestCalls(5), true);
  for (let sent = 0; sent < 5; sent++) {
    assert.equal(served.takeCalls(), 0);
    served.send(flush);
  }
  assert.equal(served.takeCalls(), 1);
  served.send(flush);
  assert.equal(served.takeCalls(), 0, 'it has been woken up and asked for nothing since');
});

test('a queue without a call descriptor only shows its answers', () => {
  using served = new ServedQueue();
  served.queue.callFd = -1;
  served.send(flush);
  assert.equal(served.answers().length, 1);
  assert.deepEqual(served.counted(), { flushes: 1 });
});

test('no kick is needed while the queue looks, and one is once it sleeps', () => {
  for (const features of [ALL_FEATURES, EVENT_IDX]) {
    using served = new ServedQueue({ features });
    served.send(flush);
    served.add(flush);
    assert.equal(served.driver.publish(), false, 'it looks anyway');
    assert.equal(served.queue.prepareToSleep(), false, 'and would see this');
    served.queue.poll();
    assert.equal(served.queue.prepareToSleep(), true);
    served.add(flush);
    assert.equal(served.driver.publish(), true);
  }
});

test('a batch of any size is served to its end, whatever the disk leaves pending', () => {
  for (const slots of [1, 7, 256, 1024]) {
    const channel = pendingChannel(1000);
    using served = new ServedQueue({ openChannel: channel.open, size: 1024, slots });
    served.driver.suppressCalls();
    for (let sent = 0; sent < 1000; sent++) {
      if (served.driver.freeCount < 2) break;
      served.add(flush);
    }
    served.driver.publish();
    const sent = served.driver.inFlight;
    let answered = 0;
    while (answered < sent) {
      while (served.queue.poll());
      assert.ok(channel.pending > 0, 'there is something to wait for');
      channel.finish(0, answered % channel.pending);
      served.queue.poll();
      answered += served.answers().length;
    }
    assert.equal(served.queue.inFlight, 0);
    assert.equal(served.counted().flushes, sent);
  }
});

test('a ring that was empty is handed to the disk in small batches first', () => {
  const channel = pendingChannel(400);
  using served = new ServedQueue({ openChannel: channel.open, size: 1024 });
  for (let sent = 0; sent < 400; sent++) served.add(flush);
  served.driver.publish();
  const submitted: number[] = [];
  for (let turn = 0; turn < 8; turn++) {
    const before = channel.pending;
    served.queue.poll();
    submitted.push(channel.pending - before);
  }
  assert.deepEqual(submitted, [2, 4, 8, 16, 32, 64, 64, 64]);
});

test('a new call descriptor is signalled once: the last call may have come to nobody', () => {
  const channel = pendingChannel(1);
  using served = new ServedQueue({ openChannel: channel.open });
  using other = createEventFd();
  served.queue.callFd = other.number;
  served.queue.poll();
  served.queue.callFd = other.number;
  served.queue.poll();
  assert.equal(drainEvent(other.number), 1);
});
