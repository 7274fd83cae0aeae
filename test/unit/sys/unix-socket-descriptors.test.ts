/** Descriptors that cross a unix socket: who owns them, whatever happens on the way. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { fstatSync, readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Socket } from '../../../src/sys/constants.ts';
import { call } from '../../../src/sys/errors.ts';
import {
  closeAll,
  createEventFd,
  createMemfd,
  createSocketPair,
  type Fd,
  MAX_MESSAGE_FDS,
  Mapping,
  receiveMessage,
  SystemError,
  sendMessage,
} from '../../../src/sys/index.ts';
import { descriptorFlags, openDescriptors } from '../../support/open-descriptors.ts';

const CHILD = fileURLToPath(new URL('../../support/descriptor-exhaustion.js', import.meta.url));

/** Send more descriptors than `sendMessage` would. */
function sendMany(socket: number, fd: number, count: number): void {
  using block = Mapping.anonymous(4096);
  const view = new DataView(block.view(0, 4096));
  const [iovecAt, dataAt, controlAt] = [64, 96, 128];
  const controlBytes = 16 + Math.ceil(count / 2) * 8;
  view.setBigUint64(16, BigInt(block.address + iovecAt), true);
  view.setBigUint64(24, 1n, true);
  view.setBigUint64(32, BigInt(block.address + controlAt), true);
  view.setBigUint64(40, BigInt(controlBytes), true);
  view.setBigUint64(iovecAt, BigInt(block.address + dataAt), true);
  view.setBigUint64(iovecAt + 8, 1n, true);
  view.setBigUint64(controlAt, BigInt(16 + count * 4), true);
  view.setInt32(controlAt + 8, Socket.SOL_SOCKET, true);
  view.setInt32(controlAt + 12, Socket.SCM_RIGHTS, true);
  for (let index = 0; index < count; index++) view.setInt32(controlAt + 16 + index * 4, fd, true);
  assert.equal(call('sendmsg', socket, block.address, 0), 1);
}

function receiveFds(socket: Fd): Fd[] {
  const received = receiveMessage(socket.number, new Uint8Array(64));
  assert.ok(received !== undefined, 'a message has arrived');
  return received.fds;
}

test('descriptors cross both ways, name the same file and are close-on-exec', () => {
  const [left, right] = createSocketPair();
  for (const [from, to] of [
    [left, right],
    [right, left],
  ]) {
    using memory = createMemfd('crossing', 4096);
    using event = createEventFd();
    writeSync(memory.number, 'over there');
    assert.equal(sendMessage(from.number, Uint8Array.of(7), [memory, event]), 1);
    const buffer = new Uint8Array(8);
    const received = receiveMessage(to.number, buffer);
    assert.equal(received?.bytes, 1);
    assert.equal(buffer[0], 7);
    assert.equal(received.fds.length, 2);
    const [arrived, second] = received.fds;
    assert.notEqual(arrived.number, memory.number);
    assert.equal(fstatSync(arrived.number).ino, fstatSync(memory.number).ino);
    const text = Buffer.alloc(10);
    readSync(arrived.number, text, 0, 10, 0);
    assert.equal(text.toString(), 'over there');
    for (const fd of [arrived, second]) {
      assert.notEqual(descriptorFlags(fd.number) & Socket.CLOEXEC, 0);
    }
    assert.ok(memory.isOpen, 'the sender keeps its own');
    closeAll(received.fds);
  }
  closeAll([left, right]);
});

test('as many descriptors as a message may carry arrive with its first byte, once', () => {
  const before = openDescriptors();
  const [left, right] = createSocketPair();
  const event = createEventFd();
  const list = new Array<Fd>(MAX_MESSAGE_FDS).fill(event);
  assert.equal(sendMessage(left.number, Uint8Array.of(1, 2, 3), list), 3);
  const first = receiveMessage(right.number, new Uint8Array(1));
  const rest = receiveMessage(right.number, new Uint8Array(8));
  assert.deepEqual([first?.bytes, first?.fds.length], [1, MAX_MESSAGE_FDS]);
  assert.deepEqual([rest?.bytes, rest?.fds.length], [2, 0]);
  closeAll([left, right, event, ...(first?.fds ?? [])]);
  assert.deepEqual(openDescriptors(), before);
});

test('too many descriptors are refused with EMSGSIZE and none of them stays open', () => {
  const [left, right] = createSocketPair();
  const event = createEventFd();
  const before = openDescriptors();
  sendMany(left.number, event.number, MAX_MESSAGE_FDS + 1);
  assert.throws(() => receiveFds(right), { code: 'EMSGSIZE', syscall: 'recvmsg' });
  assert.deepEqual(openDescriptors(), before);
  // The next message is read with a clean slate.
  sendMessage(left.number, Uint8Array.of(1), [event]);
  closeAll(receiveFds(right));
  assert.deepEqual(openDescriptors(), before);
  closeAll([left, right, event]);
});

test('descriptors this process may not open any more are refused with EMSGSIZE, none stays', () => {
  const command = 'ulimit -n 80 && exec "$0" "$1"';
  const output = execFileSync('sh', ['-c', command, process.execPath, CHILD], { encoding: 'utf8' });
  assert.deepEqual(JSON.parse(output), { outcome: 'EMSGSIZE', leaked: [] });
});

test('a message with too many descriptors is a mistake of the caller', () => {
  const [left, right] = createSocketPair();
  const list = new Array<Fd>(MAX_MESSAGE_FDS + 1).fill(left);
  assert.throws(() => sendMessage(left.number, Uint8Array.of(1), list), /33 descriptors/);
  assert.equal(receiveMessage(right.number, new Uint8Array(1)), undefined);
  closeAll([left, right]);
});

test('a full socket takes neither bytes nor descriptors', () => {
  const [left, right] = createSocketPair();
  const event = createEventFd();
  const chunk = new Uint8Array(16384);
  while (sendMessage(left.number, chunk) > 0);
  const before = openDescriptors();
  assert.equal(sendMessage(left.number, Uint8Array.of(1), [event]), 0);
  for (;;) {
    const received = receiveMessage(right.number, chunk);
    if (received === undefined) break;
    assert.equal(received.fds.length, 0);
  }
  assert.deepEqual(openDescriptors(), before);
  // There is room again: now they go.
  assert.equal(sendMessage(left.number, Uint8Array.of(1), [event]), 1);
  const fds = receiveFds(right);
  assert.equal(fds.length, 1);
  closeAll([...fds, left, right, event]);
});

test('sending to a peer that has gone fails with EPIPE and leaves the descriptors open', () => {
  const [left, right] = createSocketPair();
  const event = createEventFd();
  right.close();
  assert.throws(
    () => sendMessage(left.number, Uint8Array.of(1), [event]),
    (error) => error instanceof SystemError && error.code === 'EPIPE',
  );
  assert.ok(event.isOpen);
  closeAll([left, event]);
});

test('descriptors nobody has fetched are let go with the connection', () => {
  const [left, right] = createSocketPair();
  const [probe, sent] = createSocketPair();
  sendMessage(left.number, Uint8Array.of(1), [sent]);
  sent.close();
  assert.equal(receiveMessage(probe.number, new Uint8Array(1)), undefined, 'still in flight');
  closeAll([left, right]);
  assert.equal(receiveMessage(probe.number, new Uint8Array(1))?.bytes, 0, 'hung up');
  probe.close();
});
