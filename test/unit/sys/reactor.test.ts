/**
 * The reactor's conformance suite: the same demands on every engine in every home.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import {
  acceptUnix,
  connectUnix,
  createEventFd,
  createSocketPair,
  type FileIo,
  type FileIoHandler,
  IovecTable,
  listenUnix,
  Mapping,
  PENDING,
  type PollSource,
  receiveMessage,
  SEGMENTS_PER_SLOT,
  sendMessage,
  signalEvent,
} from '../../../src/sys/index.ts';
import { missingEngine, onReactor, REACTOR_KINDS } from '../../support/reactors.ts';

for (const [engine, home] of REACTOR_KINDS) {
  const missing = missingEngine(engine);
  if (missing !== undefined) {
    // A suite that is skipped leaves no trace in the report; a test does.
    test(`reactor: ${engine}, ${home}`, { skip: missing }, () => {});
    continue;
  }
  suite(`reactor: ${engine}, ${home}`, () => {
    test('tells of every eventfd write, though the counter is never read', async () => {
      using event = createEventFd();
      let seen = 0;
      await onReactor(engine, home, ({ reactor, done }) => {
        reactor.watch(event.number, {
          onReadable: () => {
            seen += 1;
            if (seen < 100) signalEvent(event.number);
            else done();
          },
        });
        signalEvent(event.number);
      });
      assert.equal(seen, 100);
    });

    test('tells of an event that happened before the watch', async () => {
      using event = createEventFd();
      signalEvent(event.number);
      await onReactor(engine, home, ({ reactor, done }) => {
        reactor.watch(event.number, { onReadable: done });
      });
    });

    test('is woken by another thread of the kernel while it sleeps', async () => {
      using event = createEventFd();
      await onReactor(engine, home, ({ reactor, done }) => {
        reactor.watch(event.number, { onReadable: done });
        reactor.after(30, () => reactor.after(30, () => signalEvent(event.number)));
      });
    });

    test('holds nothing open when a watch is closed that was just to be told of something', async () => {
      const [ours, theirs] = createSocketPair();
      await onReactor(engine, home, ({ reactor, done }) => {
        const isReadable = { onReadable: () => {} };
        const watch = reactor.watch(ours.number, isReadable);
        reactor.watch(theirs.number, {
          onReadable: () => {
            if (receiveMessage(theirs.number, new Uint8Array(1))?.bytes === 0) done();
          },
        });
        // In turns to come, the kernel has more to do for the watch than it can take back.
        reactor.after(1, () => {
          for (let count = 0; count < 3; count++) sendMessage(theirs.number, new Uint8Array(1));
          watch.close();
          // Nothing is left to be read, which would be a reset rather than an end.
          receiveMessage(ours.number, new Uint8Array(8));
          ours.close();
        });
      });
      theirs.close();
    });

    test('never calls a closed watch, not even for an event that has happened', async () => {
      using first = createEventFd();
      using second = createEventFd();
      let calls = 0;
      await onReactor(engine, home, ({ reactor, done }) => {
        const handler = (other: () => void) => ({
          onReadable: () => {
            calls += 1;
            other();
          },
        });
        const a = reactor.watch(
          first.number,
          handler(() => b.close()),
        );
        const b = reactor.watch(
          second.number,
          handler(() => a.close()),
        );
        signalEvent(first.number);
        signalEvent(second.number);
        reactor.after(50, done);
      });
      assert.equal(calls, 1);
    });

    test('carries a conversation over a unix socket, from accept to hang-up', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'vhostkit-'));
      const path = join(folder, 'socket');
      const heard: string[] = [];
      using listener = listenUnix(path, 4);
      using client = connectUnix(path);
      await onReactor(engine, home, ({ reactor, done }) => {
        reactor.watch(listener.number, {
          onReadable: () => {
            const connection = acceptUnix(listener.number);
            if (connection === undefined) return;
            const watch = reactor.watch(connection.number, {
              onReadable: () => {
                const buffer = new Uint8Array(16);
                for (;;) {
                  const received = receiveMessage(connection.number, buffer);
                  if (received === undefined) return;
                  if (received.bytes === 0) break;
                  heard.push(Buffer.from(buffer.subarray(0, received.bytes)).toString());
                  if (heard.join('').endsWith('!')) client.close();
                }
                watch.close();
                connection.close();
                done();
              },
            });
            reactor.after(5, () => sendMessage(client.number, Buffer.from('hello ')));
            reactor.after(10, () => sendMessage(client.number, Buffer.from('there!')));
          },
        });
      });
      rmSync(folder, { recursive: true });
      assert.equal(heard.join(''), 'hello there!');
    });

    test('closing a watch and its socket hangs up within the turn', async () => {
      const [ours, theirs] = createSocketPair();
      await onReactor(engine, home, ({ reactor, done }) => {
        const watch = reactor.watch(ours.number, { onReadable: () => {} });
        reactor.after(5, () => {
          watch.close();
          ours.close();
          reactor.after(0, () => {
            assert.equal(receiveMessage(theirs.number, new Uint8Array(1))?.bytes, 0);
            done();
          });
        });
      });
      theirs.close();
    });

    test('fires timers by deadline, then by creation, and not the cancelled ones', async (t) => {
      const order: string[] = [];
      await onReactor(engine, home, ({ reactor, done }) => {
        // All at one moment, however long it takes.
        const nowMs = performance.now();
        const clock = t.mock.method(performance, 'now', () => nowMs);
        reactor.after(30, () => order.push('c'));
        reactor.after(10, () => order.push('a'));
        const cancelled = reactor.after(20, () => order.push('never'));
        reactor.after(15, () => {
          order.push('b');
          cancelled.cancel();
        });
        reactor.after(30, () => order.push('d'));
        reactor.after(40, done);
        clock.mock.restore();
      });
      assert.equal(order.join(''), 'abcd');
    });

    test('polls sources in order and sleeps only when all agree', async () => {
      const order: string[] = [];
      await onReactor(engine, home, ({ reactor, done }) => {
        let refusals = 3;
        const source = (name: string, prepare: () => boolean): PollSource => ({
          maxSleepMs: Number.POSITIVE_INFINITY,
          poll: () => {
            if (order.length < 4) order.push(name);
            return false;
          },
          prepareToSleep: prepare,
        });
        const first = source('1', () => true);
        reactor.addSource(first);
        reactor.addSource(
          source('2', () => {
            refusals -= 1;
            if (refusals === 0) reactor.after(0, done);
            return refusals <= 0;
          }),
        );
      });
      assert.deepEqual(order, ['1', '2', '1', '2']);
    });

    test('looks at a source without notifications as often as it asks', async () => {
      let polls = 0;
      await onReactor(engine, home, ({ reactor, done }) => {
        reactor.addSource({
          maxSleepMs: 1,
          prepareToSleep: () => true,
          poll: () => {
            polls += 1;
            if (polls === 20) done();
            return false;
          },
        });
      });
      assert.ok(polls >= 20);
    });

    test('does file I/O: scattered, short at the end of file, failing', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'vhostkit-'));
      const path = join(folder, 'file');
      writeFileSync(path, Buffer.alloc(10_000, 'x'));
      const fd = openSync(path, 'r+');
      const readOnly = openSync(path, 'r');
      using table = new IovecTable(8);
      using memory = Mapping.anonymous(65536);
      const bytes = new Uint8Array(memory.view(0, 65536));
      const push = (slot: number, at: number, length: number): void => {
        const address = memory.address + at;
        assert.ok(table.push(slot, address | 0, (address / 2 ** 32) | 0, length));
      };
      const results = new Map<number, number>();
      await onReactor(engine, home, ({ reactor, done }) => {
        const handler: FileIoHandler = { onFileIo: (slot, result) => finish(slot, result) };
        const io = reactor.fileIo(fd, table, handler);
        const forbidden = reactor.fileIo(readOnly, table, handler);
        const finish = (slot: number, result: number): void => {
          results.set(slot, result);
          if (results.size === 6) {
            io.close();
            forbidden.close();
            done();
          }
          // Not earlier: it makes the file longer.
          if (slot === 2) start(5, (file) => file.fallocate(5, 0, 10_000, 10_000));
        };
        const start = (slot: number, operation: (io: FileIo) => number, on = io): void => {
          const result = operation(on);
          if (result !== PENDING) finish(slot, result);
        };
        bytes.fill('w'.charCodeAt(0), 0, 300);
        for (let piece = 0; piece < 3; piece++) push(0, piece * 100, 100);
        push(1, 4096, 512);
        push(2, 8192, 4096);
        push(3, 0, 100);
        start(0, (file) => file.writev(0, 5000, 0, 0));
        start(1, (file) => file.readv(1, 0, 0));
        start(2, (file) => file.readv(2, 9500, 0));
        start(3, (file) => file.writev(3, 0, 0, 0), forbidden);
        start(4, (file) => file.fdatasync(4));
      });
      rmSync(folder, { recursive: true });
      assert.deepEqual(
        [...results.entries()].sort((a, b) => a[0] - b[0]),
        [
          [0, 300],
          [1, 512],
          [2, 500],
          [3, -9],
          [4, 0],
          [5, 0],
        ],
      );
      assert.equal(bytes[4096], 'x'.charCodeAt(0));
      assert.equal(SEGMENTS_PER_SLOT, 256);
    });
  });
}
