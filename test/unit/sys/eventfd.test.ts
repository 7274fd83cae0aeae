/** Event counters. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { EventFdFlag } from '../../../src/sys/constants.ts';
import {
  awaitEvent,
  createEventFd,
  drainEvent,
  Errno,
  relieveFullEvent,
  signalEvent,
} from '../../../src/sys/index.ts';
import { descriptorFlags } from '../../support/open-descriptors.ts';

/** One signal more would overflow the counter. */
const FULL = 2n ** 64n - 2n;

function add(fd: number, value: bigint): void {
  writeSync(fd, BigUint64Array.of(value));
}

test('signals add up and draining takes them all', () => {
  using event = createEventFd();
  assert.equal(drainEvent(event.number), 0);
  for (let count = 0; count < 3; count++) assert.equal(signalEvent(event.number), 0);
  assert.equal(drainEvent(event.number), 3);
  assert.equal(drainEvent(event.number), 0);
});

test('signalling a full counter counts as done and does not wait', () => {
  using event = createEventFd();
  add(event.number, FULL);
  assert.equal(signalEvent(event.number), 0);
  assert.equal(drainEvent(event.number), Number(FULL));
  assert.equal(signalEvent(event.number), 0);
  assert.equal(drainEvent(event.number), 1);
});

test('signalling what is no open descriptor gives a negative errno', () => {
  assert.equal(signalEvent(1_000_000), -Errno.EBADF);
  assert.throws(() => drainEvent(1_000_000), { code: 'EBADF', syscall: 'read' });
});

test('is close-on-exec, and non-blocking unless asked otherwise', () => {
  using plain = createEventFd();
  using blocking = createEventFd({ blocking: true });
  const mask = EventFdFlag.CLOEXEC | EventFdFlag.NONBLOCK;
  assert.equal(descriptorFlags(plain.number) & mask, mask);
  assert.equal(descriptorFlags(blocking.number) & mask, EventFdFlag.CLOEXEC);
});

for (const blocking of [false, true]) {
  const mode = blocking ? 'blocking' : 'non-blocking';
  test(`awaitEvent sleeps until a signal comes, on a ${mode} descriptor`, async () => {
    using event = createEventFd({ blocking });
    const file = new URL('../../support/event-waiter.js', import.meta.url);
    const worker = new Worker(file, { workerData: event.number });
    // Asked for now: it may end before the last message is looked at.
    const exited = once(worker, 'exit');
    assert.deepEqual(await once(worker, 'message'), ['waiting']);
    signalEvent(event.number);
    const [count] = await once(worker, 'message');
    // Not 0, which is what a read that doesn't wait would bring.
    assert.equal(count, 1);
    await exited;
  });

  test(`relieveFullEvent empties a full counter only and never waits, on a ${mode} descriptor`, () => {
    using event = createEventFd({ blocking });
    relieveFullEvent(event.number);
    add(event.number, 5n);
    relieveFullEvent(event.number);
    assert.equal(drainEvent(event.number), 5);
    add(event.number, FULL);
    relieveFullEvent(event.number);
    // The counter has room again: a signal on a blocking descriptor would wait otherwise.
    assert.equal(signalEvent(event.number), 0);
    assert.equal(drainEvent(event.number), 1);
  });
}

test('awaitEvent returns at once what is there already', () => {
  using event = createEventFd();
  add(event.number, 9n);
  assert.equal(awaitEvent(event.number), 9);
  assert.equal(drainEvent(event.number), 0);
});
