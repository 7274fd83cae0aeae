/** Unix sockets: connections, hang-ups, addresses and their errors. */
import assert from 'node:assert/strict';
import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Socket } from '../../../src/sys/constants.ts';
import {
  acceptUnix,
  closeAll,
  connectUnix,
  createEventFd,
  createSocketPair,
  Fd,
  isConnectedTo,
  listenUnix,
  MAX_SOCKET_PATH_BYTES,
  receiveMessage,
  sendMessage,
  setNonBlocking,
  socketKind,
} from '../../../src/sys/index.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { descriptorFlags, openDescriptors } from '../../support/open-descriptors.ts';

test('a listener accepts waiting connections, then says there are none', (t) => {
  const path = join(imageFolder(t), 'socket');
  const listener = listenUnix(path, 4);
  assert.equal(acceptUnix(listener.number), undefined);
  const clients = [connectUnix(path), connectUnix(path)];
  const served = [acceptUnix(listener.number), acceptUnix(listener.number)];
  assert.equal(acceptUnix(listener.number), undefined);
  for (const fd of [listener, ...clients, ...served]) {
    assert.ok(fd !== undefined);
    const flags = descriptorFlags(fd.number);
    assert.equal(flags & Socket.CLOEXEC, Socket.CLOEXEC, 'close-on-exec');
    assert.equal(flags & Socket.NONBLOCK, Socket.NONBLOCK, 'non-blocking');
    fd.close();
  }
});

test('an empty socket gives undefined, a hang-up 0 bytes, a reset ECONNRESET', () => {
  const [left, right] = createSocketPair();
  const buffer = new Uint8Array(4);
  assert.equal(receiveMessage(left.number, buffer), undefined);
  right.close();
  assert.equal(receiveMessage(left.number, buffer)?.bytes, 0);
  left.close();
  const [here, there] = createSocketPair();
  sendMessage(here.number, Uint8Array.of(1));
  // A peer that closes with unread data resets the connection.
  there.close();
  assert.throws(() => receiveMessage(here.number, buffer), { code: 'ECONNRESET' });
  here.close();
});

test('a message is received in the pieces the caller asks for', () => {
  const [left, right] = createSocketPair();
  assert.equal(sendMessage(left.number, Buffer.from('abcdef')), 6);
  const buffer = new Uint8Array(4);
  assert.equal(receiveMessage(right.number, buffer)?.bytes, 4);
  assert.equal(Buffer.from(buffer).toString(), 'abcd');
  assert.equal(receiveMessage(right.number, buffer)?.bytes, 2);
  assert.equal(Buffer.from(buffer).toString(), 'efcd', 'what was not received is left alone');
  closeAll([left, right]);
});

test('errors of listening name the path and leave nothing open', (t) => {
  const folder = imageFolder(t);
  const path = join(folder, 'socket');
  writeFileSync(path, '');
  const before = openDescriptors();
  assert.throws(() => listenUnix(path, 1), { code: 'EADDRINUSE', message: new RegExp(path) });
  const missing = join(folder, 'none', 'socket');
  assert.throws(() => listenUnix(missing, 1), { code: 'ENOENT', message: new RegExp(missing) });
  const long = join(folder, 'x'.repeat(MAX_SOCKET_PATH_BYTES - folder.length));
  assert.equal(long.length, MAX_SOCKET_PATH_BYTES + 1);
  assert.throws(() => listenUnix(long, 1), { code: 'ENAMETOOLONG' });
  assert.deepEqual(openDescriptors(), before);
});

test('the longest path works, counted in bytes', (t) => {
  const folder = imageFolder(t);
  const path = join(folder, 'y'.repeat(MAX_SOCKET_PATH_BYTES - folder.length - 3));
  const listener = listenUnix(`${path}ä`, 1);
  const client = connectUnix(`${path}ä`);
  assert.ok(acceptUnix(listener.number)?.isOpen);
  assert.throws(() => connectUnix(`${path}ää`), { code: 'ENAMETOOLONG' });
  closeAll([listener, client]);
});

test('errors of connecting name the path and leave nothing open', (t) => {
  const path = join(imageFolder(t), 'socket');
  const before = openDescriptors();
  assert.throws(() => connectUnix(path), {
    code: 'ENOENT',
    syscall: 'connect',
    message: `connect ${path}: ENOENT: no such file or directory`,
  });
  listenUnix(path, 1).close();
  assert.throws(() => connectUnix(path), { code: 'ECONNREFUSED' });
  assert.deepEqual(openDescriptors(), before);
});

test('tells listening sockets, connections and other descriptors apart', (t) => {
  const path = join(imageFolder(t), 'socket');
  using listener = listenUnix(path, 1);
  using client = connectUnix(path);
  using event = createEventFd();
  assert.equal(socketKind(listener.number), 'listening');
  assert.equal(socketKind(client.number), 'stream');
  assert.equal(socketKind(event.number), 'other');
  assert.equal(socketKind(1_000_000), 'other');
});

test('isConnectedTo tells clients of a listener from other descriptors', (t) => {
  const folder = imageFolder(t);
  const [here, there] = [join(folder, 'here'), join(folder, 'there')];
  using listener = listenUnix(here, 1);
  using otherListener = listenUnix(there, 1);
  using client = connectUnix(here);
  using other = connectUnix(there);
  using event = createEventFd();
  using accepted = acceptUnix(listener.number) ?? client;
  assert.ok(isConnectedTo(client.number, accepted.number));
  for (const { number } of [other, accepted, listener, otherListener, event]) {
    assert.ok(!isConnectedTo(number, accepted.number), String(number));
  }
  const [one, two] = createSocketPair();
  assert.ok(!isConnectedTo(one.number, two.number), 'nobody can tell');
  one.close();
  two.close();
});

test('setNonBlocking changes the mode of a descriptor opened elsewhere', () => {
  using fd = new Fd(openSync('/dev/null', 'r'), '/dev/null');
  assert.equal(descriptorFlags(fd.number) & Socket.NONBLOCK, 0);
  setNonBlocking(fd.number);
  assert.equal(descriptorFlags(fd.number) & Socket.NONBLOCK, Socket.NONBLOCK);
});
