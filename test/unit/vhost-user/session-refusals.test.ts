/** How a back-end session says no: by an acknowledgement where it can, else by hanging up. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventFd, type Fd, receiveMessage, sendMessage } from '../../../src/sys/index.ts';
import { protocolFeatureSet } from '../../../src/vhost-user/index.ts';
import {
  declarationOf,
  type FrontendMessageName,
  FrontendMessages,
} from '../../../src/vhost-user/messages.ts';
import { eventually } from '../../support/eventually.ts';
import { NEED_REPLY, PLAIN, packed, rawFrame } from '../../support/raw-frontend.ts';
import { type Pair, withBackend } from '../../support/session-pair.ts';

const NAMES = Object.keys(FrontendMessages) as FrontendMessageName[];
const ALL = protocolFeatureSet([
  'MQ',
  'LOG_SHMFD',
  'REPLY_ACK',
  'BACKEND_REQ',
  'CONFIG',
  'RESET_DEVICE',
  'CONFIGURE_MEM_SLOTS',
  'STATUS',
]);
const SET_PROTOCOL_FEATURES = rawFrame(16, packed(ALL));
const SET_FEATURES = rawFrame(2, packed(1n << 30n));

/** What a frame is answered with, or that the session has ended. */
type Answer = Uint8Array | 'hung up';

async function answerOf(socket: Fd, frame: Uint8Array, fds: readonly Fd[] = []): Promise<Answer> {
  sendMessage(socket.number, frame, fds);
  const buffer = new Uint8Array(4096);
  return eventually('an answer, or the end', () => {
    const received = receiveMessage(socket.number, buffer);
    if (received === undefined) return undefined;
    return received.bytes === 0 ? 'hung up' : buffer.slice(12, received.bytes);
  });
}

/** A back-end with which all there is has been negotiated. */
function negotiated(use: (pair: Pair, socket: Fd) => Promise<void>): Promise<void> {
  return withBackend(async (pair, socket) => {
    sendMessage(socket.number, SET_PROTOCOL_FEATURES);
    sendMessage(socket.number, SET_FEATURES);
    await use(pair, socket);
  });
}

function warnings({ log }: Pair): string[] {
  return log.filter((line) => !line.startsWith('debug'));
}

/** Message, state, reason and consequence: all are in the line. */
function saidOnce(pair: Pair, name: string, reason: string, verdict: string): void {
  const state = 'negotiated, no ring active';
  assert.deepEqual(warnings(pair), [`warn ${name} (${state}): ${reason}: ${verdict}`]);
}

const NACK = new Uint8Array(packed(1n));

for (const name of NAMES) {
  const { id, request, reply, needs, fds } = declarationOf(name);
  const isNegotiable =
    needs === undefined ||
    needs === 'PROTOCOL_FEATURES' ||
    (protocolFeatureSet([needs]) & ALL) !== 0n;
  const canNack = reply === undefined || name === 'GET_CONFIG';
  const verdict = canNack ? 'refused' : 'connection closed';
  const expected: Answer = name === 'GET_CONFIG' ? new Uint8Array(0) : canNack ? NACK : 'hung up';

  test(`${name} of a wrong size is refused`, () =>
    negotiated(async (pair, socket) => {
      const size = request.accepts(3) ? 4 : 3;
      const answer = await answerOf(socket, rawFrame(id, Buffer.alloc(size), NEED_REPLY));
      assert.deepEqual(answer, expected);
      const reason = `carries ${size} bytes, not ${request.expectedBytes}`;
      saidOnce(pair, name, isNegotiable ? reason : `needs ${needs}`, verdict);
    }));

  test(`${name} with a descriptor too many is refused`, () =>
    negotiated(async (pair, socket) => {
      using event = createEventFd();
      let size = 0;
      while (!request.accepts(size)) size += 1;
      const given = Array.from({ length: fds.max + 1 }, () => event);
      const frame = rawFrame(id, Buffer.alloc(size), NEED_REPLY);
      assert.deepEqual(await answerOf(socket, frame, given), expected);
      const rule = fds.min === fds.max ? `${fds.min}` : `${fds.min} to ${fds.max}`;
      const reason = `comes with ${fds.max + 1} descriptors, not ${rule}`;
      saidOnce(pair, name, isNegotiable ? reason : `needs ${needs}`, verdict);
    }));
}

test('what is refused changes nothing: the session goes on', () =>
  negotiated(async (pair, socket) => {
    const bad = rawFrame(8, packed(0, 3), NEED_REPLY);
    assert.deepEqual(await answerOf(socket, bad), NACK);
    const good = rawFrame(8, packed(0, 8), NEED_REPLY);
    assert.deepEqual(await answerOf(socket, good), new Uint8Array(8));
    saidOnce(
      pair,
      'SET_VRING_NUM',
      'ring 0 of size 3: must be a power of two, at most 256',
      'refused',
    );
  }));

test('a wrong message without the wish for an acknowledgement ends the session', () =>
  negotiated(async (pair, socket) => {
    const bad = rawFrame(8, packed(0, 3), PLAIN);
    assert.equal(await answerOf(socket, bad), 'hung up');
    await pair.backend.ended;
    const reason = 'ring 0 of size 3: must be a power of two, at most 256';
    saidOnce(pair, 'SET_VRING_NUM', reason, 'connection closed');
  }));

test('without REPLY_ACK the wish for an acknowledgement counts for nothing', () =>
  withBackend(async (pair, socket) => {
    sendMessage(socket.number, rawFrame(3, undefined, NEED_REPLY));
    const features = await answerOf(socket, rawFrame(1, undefined, NEED_REPLY));
    assert.equal(features.length, 8, 'the answer to GET_FEATURES comes first');
    assert.equal(await answerOf(socket, rawFrame(8, packed(0, 3), NEED_REPLY)), 'hung up');
    await pair.backend.ended;
    assert.match(warnings(pair)[0], /^warn SET_VRING_NUM \(connected, .*: connection closed$/);
  }));

test('a broken frame ends the session, with message, state and reason in the log', () =>
  negotiated(async (pair, socket) => {
    assert.equal(await answerOf(socket, rawFrame(3, undefined, NEED_REPLY | 2)), 'hung up');
    await pair.backend.ended;
    const line = 'warn connection lost (negotiated, no ring active): message 3: frame of version 3';
    assert.deepEqual(warnings(pair), [line]);
  }));

test('a fault of our own ends the session, and is logged as an error', () =>
  negotiated(async (pair, socket) => {
    pair.device.readConfig = () => {
      throw new Error('a defect');
    };
    const frame = rawFrame(24, Buffer.concat([packed(0, 4, 0), Buffer.alloc(4)]), NEED_REPLY);
    assert.equal(await answerOf(socket, frame), 'hung up');
    await pair.backend.ended;
    assert.match(warnings(pair)[0], /^error GET_CONFIG \(negotiated, .*: Error: a defect/);
  }));

test('unknown messages, and those of other devices, are refused', () =>
  negotiated(async (pair, socket) => {
    for (const id of [0, 19, 46, 2 ** 32 - 1]) {
      assert.deepEqual(await answerOf(socket, rawFrame(id, undefined, NEED_REPLY)), NACK);
    }
    const state = '(negotiated, no ring active)';
    assert.deepEqual(warnings(pair), [
      `warn message 0 ${state}: is unknown: refused`,
      `warn message 19 ${state}: (SEND_RARP) is for other devices: refused`,
      `warn message 46 ${state}: is unknown: refused`,
      `warn message 4294967295 ${state}: is unknown: refused`,
    ]);
  }));
