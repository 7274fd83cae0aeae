/** Waiting for several descriptors at once. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { suite, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  createEventFd,
  createSocketPair,
  drainEvent,
  EpollSet,
  type Fd,
  signalEvent,
} from '../../../src/sys/index.ts';
import { openDescriptors } from '../../support/open-descriptors.ts';

const WAIT_MS = 20_000;
/** More than one call takes. */
const MANY = 100;

function withCode(code: string): { readonly name: string; readonly code: string } {
  return { name: 'SystemError', code };
}

suite('a set of descriptors', () => {
  test('says which are readable, for as long as they are', () => {
    using set = new EpollSet();
    using first = createEventFd();
    using second = createEventFd();
    set.add(first.number);
    set.add(second.number);
    assert.deepEqual(set.wait(0), []);
    signalEvent(second.number);
    assert.deepEqual(set.wait(WAIT_MS), [second.number]);
    assert.deepEqual(set.wait(), [second.number], 'nobody has read it');
    signalEvent(first.number);
    assert.deepEqual(new Set(set.wait()), new Set([first.number, second.number]));
    drainEvent(second.number);
    assert.deepEqual(set.wait(), [first.number]);
    set.remove(first.number);
    assert.deepEqual(set.wait(0), []);
  });

  test('of any number comes to each of them', () => {
    using set = new EpollSet();
    const fds: Fd[] = [];
    for (let index = 0; index < MANY; index++) {
      const fd = createEventFd();
      fds.push(fd);
      set.add(fd.number);
      signalEvent(fd.number);
    }
    const seen = new Set<number>();
    for (let round = 0; round < MANY && seen.size < MANY; round++) {
      for (const fd of set.wait(WAIT_MS)) seen.add(fd);
    }
    assert.deepEqual(seen, new Set(fds.map(({ number }) => number)));
    for (const fd of fds) fd.close();
  });

  test('is readable itself while one of its descriptors is', () => {
    using outer = new EpollSet();
    using inner = new EpollSet();
    using event = createEventFd();
    outer.add(inner.fd);
    inner.add(event.number);
    assert.deepEqual(outer.wait(0), []);
    signalEvent(event.number);
    assert.deepEqual(outer.wait(WAIT_MS), [inner.fd]);
    drainEvent(event.number);
    assert.deepEqual(outer.wait(0), []);
  });

  test('counts a peer that has hung up', () => {
    using set = new EpollSet();
    const [ours, theirs] = createSocketPair();
    set.add(ours.number);
    theirs.close();
    assert.deepEqual(set.wait(WAIT_MS), [ours.number]);
    ours.close();
    assert.deepEqual(set.wait(0), [], 'a descriptor that is closed leaves by itself');
  });

  test('sleeps no shorter than the time it was given', () => {
    using set = new EpollSet();
    for (const timeoutMs of [0.5, 1, 30]) {
      const startMs = performance.now();
      assert.deepEqual(set.wait(timeoutMs), []);
      assert.ok(performance.now() - startMs >= timeoutMs, `${timeoutMs} ms`);
    }
    assert.throws(() => set.wait(-1), /a timeout of -1 ms/);
  });

  test('is woken by another thread', async () => {
    using set = new EpollSet();
    using event = createEventFd();
    set.add(event.number);
    const module = new URL('../../../src/sys/index.js', import.meta.url).href;
    const code = `import('${module}').then(({ signalEvent }) => signalEvent(${event.number}))`;
    const worker = new Worker(code, { eval: true });
    const ended = once(worker, 'exit');
    await once(worker, 'online');
    assert.deepEqual(set.wait(WAIT_MS), [event.number]);
    await ended;
  });

  test('refuses what cannot be waited for, and what is there already or not at all', () => {
    using set = new EpollSet();
    using event = createEventFd();
    set.add(event.number);
    assert.throws(() => set.add(event.number), withCode('EEXIST'));
    set.remove(event.number);
    assert.throws(() => set.remove(event.number), withCode('ENOENT'));
    const file = openSync('/proc/self/exe', 'r');
    assert.throws(() => set.add(file), withCode('EPERM'));
    closeSync(file);
    assert.throws(() => set.add(2 ** 20), withCode('EBADF'));
  });

  test('is closed once', () => {
    const set = new EpollSet();
    const line = `${set.fd} -> anon_inode:[eventpoll]`;
    assert.ok(openDescriptors().includes(line));
    set.close();
    assert.ok(!openDescriptors().includes(line));
    assert.throws(() => set.fd, /closed/);
    set[Symbol.dispose]();
  });
});
