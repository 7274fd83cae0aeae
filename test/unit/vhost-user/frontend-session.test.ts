/** A front-end session against a back-end that misbehaves: every wait ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AttachedHome,
  createReactor,
  createSocketPair,
  type Fd,
  receiveMessage,
  sendMessage,
} from '../../../src/sys/index.ts';
import {
  FrontendSession,
  type ProtocolError,
  protocolFeatureSet,
} from '../../../src/vhost-user/index.ts';
import { eventually } from '../../support/eventually.ts';
import { packed, rawFrame } from '../../support/raw-frontend.ts';

const REPLY = 1 | 4;

/** The session, the other end of its socket, and the reasons for which it was told to have ended. */
async function withSession(
  use: (session: FrontendSession, peer: Fd, ends: ProtocolError[]) => Promise<void>,
  timeoutMs = 10_000,
): Promise<void> {
  const { reactor } = createReactor('attached', 'epoll');
  const home = new AttachedHome(reactor);
  const [ours, theirs] = createSocketPair();
  const session = new FrontendSession({ reactor, socket: ours, timeoutMs });
  const ends: ProtocolError[] = [];
  session.onDisconnect = (reason) => ends.push(reason);
  try {
    await use(session, theirs, ends);
  } finally {
    session.close();
    theirs[Symbol.dispose]();
    home.close();
    reactor[Symbol.dispose]();
  }
}

/** What the session has sent: whole frames. */
async function sent(peer: Fd): Promise<Buffer> {
  const buffer = Buffer.alloc(4096);
  const received = await eventually('a frame', () => receiveMessage(peer.number, buffer));
  return buffer.subarray(0, received.bytes);
}

test('answers come to the requests in their order', () =>
  withSession(async (session, peer) => {
    const both = Promise.all([
      session.request('GET_FEATURES', null),
      session.request('GET_PROTOCOL_FEATURES', null),
    ]);
    const answers = [rawFrame(1, packed(5n), REPLY), rawFrame(15, packed(6n), REPLY)];
    sendMessage(peer.number, Buffer.concat(answers));
    assert.deepEqual(await both, [{ value: 5n }, { value: 6n }]);
  }));

test('an acknowledgement is asked for, and waited for, once REPLY_ACK is negotiated', () =>
  withSession(async (session, peer) => {
    await session.request('SET_OWNER', null);
    assert.deepEqual(await sent(peer), rawFrame(3));
    session.protocolFeatures = protocolFeatureSet(['REPLY_ACK']);
    const owned = session.request('SET_OWNER', null);
    assert.deepEqual(await sent(peer), rawFrame(3, undefined, 1 | 8));
    sendMessage(peer.number, rawFrame(3, packed(0n), REPLY));
    await owned;
    const refused = session.request('SET_OWNER', null);
    sendMessage(peer.number, rawFrame(3, packed(7n), REPLY));
    await assert.rejects(refused, { code: 'REFUSED' });
  }));

const WRONG: readonly (readonly [string, Buffer, RegExp])[] = [
  ['the answer to something else', rawFrame(15, packed(1n), REPLY), /was answered by message 15/],
  ['a request', rawFrame(1, packed(1n)), /was answered by message 1, flags 1/],
];

for (const [what, frame, message] of WRONG) {
  test(`${what} for an answer ends the session`, () =>
    withSession(async (session, peer, ends) => {
      const asked = session.request('GET_FEATURES', null);
      sendMessage(peer.number, frame);
      await assert.rejects(asked, { code: 'BAD_PAYLOAD', message });
      assert.equal(ends.length, 1);
      await assert.rejects(session.request('GET_FEATURES', null), { code: 'DISCONNECTED' });
    }));
}

test('an answer of a wrong size is an error of the request', () =>
  withSession(async (session, peer) => {
    const asked = session.request('GET_FEATURES', null);
    sendMessage(peer.number, rawFrame(1, Buffer.alloc(4), REPLY));
    await assert.rejects(asked, { code: 'BAD_PAYLOAD', message: /answered with 4 bytes/ });
  }));

test('an acknowledgement of a wrong size is an error of the request', () =>
  withSession(async (session, peer) => {
    session.protocolFeatures = protocolFeatureSet(['REPLY_ACK']);
    for (const size of [0, 4, 16]) {
      const asked = session.request('SET_OWNER', null);
      sendMessage(peer.number, rawFrame(3, Buffer.alloc(size), REPLY));
      await assert.rejects(asked, { name: 'ProtocolError', code: 'BAD_PAYLOAD' }, `${size} bytes`);
    }
  }));

test('an answer that contradicts itself is an error of the request', () =>
  withSession(async (session, peer) => {
    const payload = { offset: 0, size: 4, flags: 0, bytes: new Uint8Array(4) };
    const asked = session.request('GET_CONFIG', payload);
    const lie = Buffer.concat([packed(0, 5, 0), Buffer.alloc(4)]);
    sendMessage(peer.number, rawFrame(24, lie, REPLY));
    await assert.rejects(asked, { code: 'BAD_PAYLOAD', message: /config.size is 5/ });
  }));

test('an answer to nothing ends the session', () =>
  withSession(async (_session, peer, ends) => {
    sendMessage(peer.number, rawFrame(1, packed(1n), REPLY));
    await eventually('the session ends', () => ends.length === 1);
    assert.match(ends[0].message, /answer to nothing/);
  }));

test('a back-end that hangs up ends every wait', () =>
  withSession(async (session, peer, ends) => {
    const asked = [1, 2, 3].map(() => session.request('GET_FEATURES', null));
    const outcome = Promise.allSettled(asked);
    peer.close();
    for (const result of await outcome) {
      assert.equal(result.status, 'rejected');
      assert.equal((result.reason as ProtocolError).code, 'DISCONNECTED');
    }
    assert.equal(ends.length, 1);
  }));

test('a back-end that does not answer ends the wait, and the session', () =>
  withSession(async (session, _peer, ends) => {
    const asked = session.request('GET_FEATURES', null);
    await assert.rejects(asked, { code: 'NO_REPLY', message: /no answer in 20 ms/ });
    assert.equal(ends[0].code, 'NO_REPLY');
  }, 20));

test('a session that is closed ends every wait, and tells nobody', () =>
  withSession(async (session, _peer, ends) => {
    const asked = session.request('GET_FEATURES', null);
    const rejected = assert.rejects(asked, { code: 'DISCONNECTED' });
    session.close();
    await rejected;
    assert.equal(ends.length, 0);
  }));
