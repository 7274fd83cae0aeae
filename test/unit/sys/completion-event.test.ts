/** The descriptor that tells that a reactor has work, with every engine. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { suite, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  type CompletionEvent,
  createEventFd,
  createReactor,
  drainEvent,
  type EngineName,
  IovecTable,
  isSignalled,
  Mapping,
  PENDING,
  type Reactor,
  signalEvent,
} from '../../../src/sys/index.ts';
import type { PingerPlan } from '../../support/event-pinger.ts';
import { eventually } from '../../support/eventually.ts';
import { openDescriptors } from '../../support/open-descriptors.ts';
import { missingEngine } from '../../support/reactors.ts';
import { awaitReadable } from '../../support/readable-descriptor.ts';

const ROUNDS = 10_000;

function withEvent(
  engine: EngineName,
  body: (reactor: Reactor, event: CompletionEvent) => void,
): void {
  const { reactor } = createReactor('attached', engine);
  const event = reactor.createCompletionEvent();
  try {
    body(reactor, event);
  } finally {
    event.close();
    reactor[Symbol.dispose]();
  }
}

/** Look after the reactor until it has no work. */
function settle(reactor: Reactor, event: CompletionEvent): void {
  for (;;) {
    event.reset();
    while (reactor.turn());
    if (event.arm() && !isSignalled(event.fd)) return;
  }
}

for (const engine of ['io_uring', 'epoll'] as const) {
  const missing = missingEngine(engine);
  if (missing !== undefined) {
    // A suite that is skipped leaves no trace in the report; a test does.
    test(`completion event: ${engine}`, { skip: missing }, () => {});
    continue;
  }
  suite(`completion event: ${engine}`, () => {
    test('is readable when rung, for as long as nobody resets or disarms it', () => {
      withEvent(engine, (reactor, event) => {
        assert.ok(!isSignalled(event.fd), 'at first');
        event.ring();
        event.ring();
        assert.ok(isSignalled(event.fd) && isSignalled(event.fd));
        event.reset();
        assert.ok(!isSignalled(event.fd));
        settle(reactor, event);
        event.ring();
        assert.ok(isSignalled(event.fd), 'armed, too');
        event.disarm();
        assert.ok(!isSignalled(event.fd));
        event.disarm();
        event.ring();
        assert.ok(isSignalled(event.fd), 'disarmed, too');
      });
    });

    test('is readable after an event, until the reactor has been looked after', () => {
      withEvent(engine, (reactor, event) => {
        using cause = createEventFd();
        let calls = 0;
        reactor.watch(cause.number, {
          onReadable: () => {
            calls += 1;
          },
        });
        settle(reactor, event);
        for (let round = 1; round <= 100; round++) {
          signalEvent(cause.number);
          awaitReadable(event.fd);
          awaitReadable(event.fd);
          settle(reactor, event);
          assert.equal(calls, round);
        }
      });
    });

    test('an event before it is armed is not missed', () => {
      withEvent(engine, (reactor, event) => {
        using cause = createEventFd();
        let calls = 0;
        reactor.watch(cause.number, {
          onReadable: () => {
            calls += 1;
          },
        });
        signalEvent(cause.number);
        assert.ok(!event.arm() || isSignalled(event.fd), 'before the first time');
        settle(reactor, event);
        assert.equal(calls, 1);
        signalEvent(cause.number);
        event.reset();
        assert.ok(!event.arm() || isSignalled(event.fd), 'between the last turn and the reset');
        event.reset();
        reactor.turn();
        signalEvent(cause.number);
        assert.ok(!event.arm() || isSignalled(event.fd), 'after the last turn');
        settle(reactor, event);
        assert.equal(calls, 3);
      });
    });

    test('nothing makes it readable while it is disarmed', () => {
      withEvent(engine, (reactor, event) => {
        using cause = createEventFd();
        reactor.watch(cause.number, { onReadable: () => {} });
        signalEvent(cause.number);
        assert.ok(!isSignalled(event.fd), 'at first');
        settle(reactor, event);
        event.disarm();
        signalEvent(cause.number);
        assert.ok(!isSignalled(event.fd), 'later');
        assert.ok(!event.arm() || isSignalled(event.fd), 'and that was not missed');
      });
    });

    test('no wake-up by another thread is lost', async () => {
      using ping = createEventFd();
      using pong = createEventFd();
      const plan: PingerPlan = { ping: ping.number, pong: pong.number, rounds: ROUNDS };
      const url = new URL('../../support/event-pinger.js', import.meta.url);
      const worker = new Worker(url, { workerData: plan });
      const ended = once(worker, 'exit');
      await once(worker, 'online');
      withEvent(engine, (reactor, event) => {
        let seen = 0;
        reactor.watch(ping.number, {
          onReadable: () => {
            if (drainEvent(ping.number) === 0) return;
            seen += 1;
            signalEvent(pong.number);
          },
        });
        while (seen < ROUNDS) {
          settle(reactor, event);
          if (seen < ROUNDS) awaitReadable(event.fd);
        }
        assert.equal(seen, ROUNDS);
      });
      await ended;
    });

    test('leaves no descriptor open', async () => {
      const before = openDescriptors();
      withEvent(engine, (reactor, event) => {
        settle(reactor, event);
        const added = openDescriptors().filter((line) => !before.includes(line));
        assert.ok(added.includes(`${event.fd} -> anon_inode:[eventpoll]`), added.join());
      });
      await eventually('all are closed', () => openDescriptors().join() === before.join());
    });
  });
}

suite('completion event: io_uring alone', { skip: missingEngine('io_uring') ?? false }, () => {
  test('file I/O is submitted, and makes it readable when it is done', () => {
    const fd = openSync('/proc/self/exe', 'r');
    using table = new IovecTable(1);
    using memory = Mapping.anonymous(4096);
    withEvent('io_uring', (reactor, event) => {
      const results: number[] = [];
      const handler = { onFileIo: (_slot: number, result: number) => void results.push(result) };
      const io = reactor.fileIo(fd, table, handler);
      settle(reactor, event);
      for (let round = 1; round <= 100; round++) {
        table.clear(0);
        table.push(0, memory.address | 0, (memory.address / 2 ** 32) | 0, 4096);
        assert.equal(io.readv(0, 0, 0), PENDING);
        if (event.arm()) awaitReadable(event.fd);
        settle(reactor, event);
        assert.deepEqual(results, new Array(round).fill(4096));
      }
      io.close();
    });
    closeSync(fd);
  });

  test('a ring that would lose signals has none', () => {
    const { reactor } = createReactor('blocking', 'io_uring');
    assert.throws(() => reactor.createCompletionEvent(), /loses signals/);
    reactor[Symbol.dispose]();
  });
});
