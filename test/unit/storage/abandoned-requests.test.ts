/** Requests that a file's channel gives up: what is pending ends, and nothing of it goes on. */
import assert from 'node:assert/strict';
import { readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SystemFileCalls } from '../../../src/storage/file/file-calls.ts';
import { FileChannel } from '../../../src/storage/file/file-channel.ts';
import type { FileDiskHandle } from '../../../src/storage/file/file-disk.ts';
import { FlushGate } from '../../../src/storage/file/flush-gate.ts';
import { ZeroPages } from '../../../src/storage/file/zero-pages.ts';
import { DiskOperation, DiskRequests } from '../../../src/storage/index.ts';
import {
  AttachedHome,
  createReactor,
  createSocketPair,
  Errno,
  type FileIoHandler,
  Mapping,
  PENDING,
} from '../../../src/sys/index.ts';
import { eventually } from '../../support/eventually.ts';
import { missingEngine } from '../../support/reactors.ts';

const skip = missingEngine('io_uring') ?? false;
const LENGTH = 512;

test('reads that the kernel has not begun end with ECANCELED', { skip }, async () => {
  // There is nothing to read in it: a file whose storage does not answer.
  const [near, far] = createSocketPair();
  using memory = Mapping.anonymous(4096);
  using requests = new DiskRequests(4);
  const zeroPages = new ZeroPages();
  const { reactor } = createReactor('attached', 'io_uring');
  const home = new AttachedHome(reactor);
  const done: (readonly [number, number])[] = [];
  const handler = { onDiskDone: (slot: number, result: number) => done.push([slot, result]) };
  const channel = new FileChannel(requests, handler, (ioHandler: FileIoHandler) => {
    const calls = new SystemFileCalls({ fd: near.number } as FileDiskHandle);
    const io = reactor.fileIo(near.number, requests.iovecs, ioHandler);
    const paths = { calls, reads: io, writes: io, control: io, flushes: io };
    const gate = new FlushGate(new SharedArrayBuffer(4));
    const flushLane = { gate, fd: near.number, isApart: false, leave: () => {} };
    const ways = { flushLane, unaligned: undefined, zeroPages };
    return { ...paths, ...ways, isBlockDevice: false };
  });
  for (const slot of [0, 2]) {
    requests.operation[slot] = DiskOperation.READ;
    requests.offsetLow[slot] = 0;
    requests.offsetHigh[slot] = 0;
    requests.lengthBytes[slot] = LENGTH;
    requests.iovecs.clear(slot);
    requests.iovecs.push(slot, memory.address | 0, (memory.address / 2 ** 32) | 0, LENGTH);
    assert.equal(channel.start(slot), PENDING);
  }
  reactor.requestTurn();
  await sleep(20);
  assert.equal(done.length, 0, 'they wait');
  channel.abandon();
  reactor.requestTurn();
  await eventually('both have ended', () => done.length === 2);
  done.sort(([a], [b]) => a - b);
  assert.deepEqual(
    done,
    [0, 2].map((slot) => [slot, -Errno.ECANCELED]),
  );
  writeSync(far.number, new Uint8Array(LENGTH).fill(1));
  await sleep(20);
  assert.equal(readSync(near.number, new Uint8Array(LENGTH)), LENGTH, 'nobody has taken it');
  assert.ok(new Uint8Array(memory.view(0, LENGTH)).every((byte) => byte === 0));
  channel.close();
  zeroPages.close();
  home.close();
  reactor[Symbol.dispose]();
  near.close();
  far.close();
});
