/** A front-end and a back-end session talk: what the messages bring about. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventFd } from '../../../src/sys/index.ts';
import {
  BACKEND_PROTOCOL_FEATURES,
  protocolFeatureNames,
  protocolFeatureSet,
} from '../../../src/vhost-user/index.ts';
import { eventually } from '../../support/eventually.ts';
import {
  HALTED_AT,
  LOG_ALL_BIT,
  negotiate,
  PROTOCOL_FEATURES_BIT,
  withPair,
} from '../../support/session-pair.ts';
import { placeRing, shareMemory, startRing, USER } from '../../support/session-ring.ts';

const REFUSED = { name: 'ProtocolError', code: 'REFUSED' };
/** The answer to a question shows that everything before has been handled. */
const settled = async (frontend: Parameters<Parameters<typeof withPair>[0]>[0]): Promise<void> => {
  await frontend.request('GET_FEATURES', null);
};

test('features of the device and of the protocol are offered', () =>
  withPair(async (frontend, { device }) => {
    const { value } = await frontend.request('GET_FEATURES', null);
    assert.equal(value, device.features | PROTOCOL_FEATURES_BIT | LOG_ALL_BIT);
    const protocol = await frontend.request('GET_PROTOCOL_FEATURES', null);
    assert.equal(protocol.value, BACKEND_PROTOCOL_FEATURES);
    assert.deepEqual(protocolFeatureNames(protocol.value), [
      'MQ',
      'LOG_SHMFD',
      'REPLY_ACK',
      'BACKEND_REQ',
      'CONFIG',
      'INFLIGHT_SHMFD',
      'RESET_DEVICE',
      'CONFIGURE_MEM_SLOTS',
      'STATUS',
      'GET_VRING_BASE_INFLIGHT',
    ]);
  }));

test('queues, memory slots and status are told', () =>
  withPair(async (frontend) => {
    await negotiate(frontend, ['MQ', 'CONFIGURE_MEM_SLOTS', 'STATUS', 'REPLY_ACK']);
    assert.equal((await frontend.request('GET_QUEUE_NUM', null)).value, 2n);
    assert.equal((await frontend.request('GET_MAX_MEM_SLOTS', null)).value, 509n);
    await frontend.request('SET_STATUS', { value: 15n });
    assert.equal((await frontend.request('GET_STATUS', null)).value, 15n);
    await assert.rejects(frontend.request('SET_STATUS', { value: 256n }), REFUSED);
    assert.equal((await frontend.request('GET_STATUS', null)).value, 15n);
  }));

test('the configuration space is read, and written where the device lets it be', () =>
  withPair(async (frontend, { device }) => {
    await negotiate(frontend, ['CONFIG', 'REPLY_ACK']);
    const ask = (offset: number, size: number) =>
      frontend.request('GET_CONFIG', { offset, size, flags: 0, bytes: new Uint8Array(size) });
    assert.deepEqual([...(await ask(2, 3)).bytes], [2, 3, 4]);
    assert.deepEqual([...(await ask(62, 4)).bytes], [62, 63, 0, 0], 'zeros beyond its end');
    const put = (offset: number, flags: number, ...values: number[]) => {
      const bytes = Uint8Array.from(values);
      return frontend.request('SET_CONFIG', { offset, size: bytes.length, flags, bytes });
    };
    await put(32, 0, 200);
    assert.equal(device.config[32], 200);
    await assert.rejects(put(31, 0, 1), REFUSED);
    await put(8, 1, 201, 202);
    assert.deepEqual([...device.config.subarray(8, 10)], [201, 202], 'by migration');
    await assert.rejects(ask(250, 7), { code: 'BAD_PAYLOAD' }, 'an empty answer');
  }));

test('with PROTOCOL_FEATURES a ring runs when it is started and enabled', () =>
  withPair(async (frontend, { device }) => {
    await negotiate(frontend, ['REPLY_ACK']);
    await shareMemory(frontend);
    await placeRing(frontend);
    await startRing(frontend);
    assert.equal(device.running.size, 0, 'not enabled');
    await frontend.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    const setup = device.running.get(0);
    assert.equal(setup?.size, 64);
    assert.equal(setup?.base, 5);
    assert.equal(setup?.descriptorAddress, USER);
    assert.equal(setup?.features, PROTOCOL_FEATURES_BIT | (1n << 32n));
    assert.deepEqual(device.notes, ['memory 1', 'run 0']);
  }));

test('without PROTOCOL_FEATURES a ring runs as soon as it is started', () =>
  withPair(async (frontend, { device }) => {
    await frontend.request('SET_FEATURES', { value: 1n << 32n });
    await shareMemory(frontend);
    await placeRing(frontend, 1);
    await startRing(frontend, 1);
    await settled(frontend);
    assert.deepEqual([...device.running.keys()], [1]);
  }));

test('GET_VRING_BASE stops a ring; a new kick starts it where it stood', () =>
  withPair(async (frontend, { device }) => {
    await negotiate(frontend, ['REPLY_ACK']);
    await shareMemory(frontend);
    await placeRing(frontend);
    await frontend.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    await startRing(frontend);
    const reply = await frontend.request('GET_VRING_BASE', { index: 0, num: 0 });
    assert.deepEqual(reply, { index: 0, num: HALTED_AT });
    assert.equal(device.running.size, 0);
    await frontend.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    assert.equal(device.running.size, 0, 'enabled, but not started');
    await startRing(frontend);
    assert.equal(device.running.get(0)?.base, HALTED_AT);
  }));

test('with GET_VRING_BASE_INFLIGHT a ring that is disabled or stopped may leave requests', () =>
  withPair(async (frontend, { device }) => {
    await negotiate(frontend, ['REPLY_ACK', 'INFLIGHT_SHMFD', 'GET_VRING_BASE_INFLIGHT']);
    await shareMemory(frontend);
    await placeRing(frontend);
    await startRing(frontend);
    const enable = (num: number) => frontend.request('SET_VRING_ENABLE', { index: 0, num });
    await enable(1);
    await shareMemory(frontend);
    await enable(0);
    await enable(1);
    await frontend.request('GET_VRING_BASE', { index: 0, num: 0 });
    const halts = device.notes.filter((note) => /finish|leave/.test(note));
    assert.deepEqual(halts, ['finish 0', 'leave 0', 'leave 0']);
  }));

test('GET_VRING_BASE_INFLIGHT without INFLIGHT_SHMFD is refused', () =>
  withPair(async (frontend, { log }) => {
    await negotiate(frontend, ['REPLY_ACK']);
    const value = protocolFeatureSet(['REPLY_ACK', 'GET_VRING_BASE_INFLIGHT']);
    await assert.rejects(frontend.request('SET_PROTOCOL_FEATURES', { value }));
    assert.ok(log.some((line) => line.includes('there is no log to leave requests in')));
  }));

test('a running ring is halted around a change of memory, and rewired for descriptors', () =>
  withPair(async (frontend, { device }) => {
    await negotiate(frontend, ['REPLY_ACK']);
    await shareMemory(frontend);
    await placeRing(frontend);
    await startRing(frontend);
    await frontend.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    device.notes.length = 0;
    await shareMemory(frontend);
    assert.deepEqual(device.notes, ['finish 0', 'memory 1', 'run 0']);
    using call = createEventFd();
    await frontend.request('SET_VRING_CALL', { value: 0n }, [call]);
    await startRing(frontend);
    assert.deepEqual(device.notes.slice(3), ['rewire 0', 'rewire 0']);
    assert.notEqual(device.running.get(0)?.callFd, undefined);
    await assert.rejects(shareMemory(frontend, 0x1000), REFUSED, 'the ring is not in it');
    assert.deepEqual(device.notes.slice(5), ['finish 0', 'memory 1']);
  }));

test('RESET_DEVICE stops all rings and forgets status and indices, not the memory', () =>
  withPair(async (frontend, { device }) => {
    await negotiate(frontend, ['REPLY_ACK', 'RESET_DEVICE', 'STATUS']);
    await shareMemory(frontend);
    for (const index of [0, 1]) {
      await placeRing(frontend, index);
      await startRing(frontend, index);
      await frontend.request('SET_VRING_ENABLE', { index, num: 1 });
    }
    await frontend.request('SET_STATUS', { value: 7n });
    device.notes.length = 0;
    await frontend.request('RESET_DEVICE', null);
    assert.deepEqual(device.notes, ['abort 0', 'abort 1', 'reset']);
    assert.equal((await frontend.request('GET_STATUS', null)).value, 0n);
    await startRing(frontend);
    assert.equal(device.running.size, 0, 'disabled');
    await frontend.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    assert.equal(device.running.get(0)?.base, 0);
  }));

test('RESET_OWNER disables the rings and keeps the connection', () =>
  withPair(async (frontend, { device }) => {
    await negotiate(frontend, ['REPLY_ACK']);
    await shareMemory(frontend);
    await placeRing(frontend);
    await startRing(frontend);
    await frontend.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    await frontend.request('RESET_OWNER', null);
    assert.equal(device.running.size, 0);
    await frontend.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    assert.equal(device.running.size, 1);
  }));

test('a change of the configuration is told over the back-end channel', () =>
  withPair(async (frontend, { backend }) => {
    let changes = 0;
    frontend.onConfigChange = () => {
      changes += 1;
    };
    await negotiate(frontend, ['REPLY_ACK', 'BACKEND_REQ', 'CONFIG']);
    backend.notifyConfigChange();
    await frontend.openBackendChannel();
    backend.notifyConfigChange();
    await eventually('the front-end is told', () => changes > 0);
    backend.notifyConfigChange();
    await eventually('the front-end is told again', () => changes > 1);
    assert.equal(changes, 2, 'nothing was told before there was a channel');
  }));
