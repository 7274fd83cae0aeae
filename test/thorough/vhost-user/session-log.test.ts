/** The messages of live migration: which dirty logs a session takes, and what it does with them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createEventFd,
  createMemfd,
  type Fd,
  MAX_VIEW_BYTES,
  Mapping,
} from '../../../src/sys/index.ts';
import type { FrontendSession } from '../../../src/vhost-user/index.ts';
import { steadyDescriptors, untilDescriptors } from '../../support/descriptor-count.ts';
import {
  LOG_ALL_BIT,
  negotiate,
  type Pair,
  PROTOCOL_FEATURES_BIT,
  withPair,
} from '../../support/session-pair.ts';
import { placeRing, shareMemory, startRing, USER } from '../../support/session-ring.ts';

const REFUSED = { code: 'REFUSED' };
const FEATURES = PROTOCOL_FEATURES_BIT | (1n << 32n);
/** Addresses of ring 0 as `placeRing` has them. */
const RING = { index: 0, descriptor: USER, available: USER + 0x1000, used: USER + 0x2000 };

/** A session with memory (64 KiB from guest address 0) and one running ring. */
function running(use: (frontend: FrontendSession, pair: Pair) => Promise<void>): Promise<void> {
  return withPair(async (frontend, pair) => {
    await negotiate(frontend, ['REPLY_ACK', 'LOG_SHMFD']);
    await shareMemory(frontend);
    await placeRing(frontend);
    await startRing(frontend);
    await frontend.request('SET_VRING_ENABLE', { index: 0, num: 1 });
    pair.device.notes.length = 0;
    await use(frontend, pair);
  });
}

async function setBase(
  frontend: FrontendSession,
  fileBytes: number,
  sizeBytes = fileBytes,
  offset = 0,
): Promise<unknown> {
  using file = createMemfd('log', fileBytes);
  return await frontend.request('SET_LOG_BASE', { sizeBytes, offset }, [file]);
}

test('a log is mapped where the file has it, and answered with 0', () =>
  running(async (frontend, { device }) => {
    using file = createMemfd('log', 8192);
    const area = { sizeBytes: 9, offset: 4099 };
    assert.deepEqual(await frontend.request('SET_LOG_BASE', area, [file]), { value: 0n });
    assert.deepEqual(device.notes, ['log 9'], 'the ring goes on');
    new Uint8Array(device.log?.view(0, 9) ?? new ArrayBuffer(0))[8] = 7;
    using check = Mapping.ofFile(file.number, 0, 8192);
    assert.equal(new Uint8Array(check.view(0, 8192))[4099 + 8], 7);
  }));

test('a log takes the place of another; nothing is left of either', () =>
  running(async (frontend, { device, backend }) => {
    const before = await steadyDescriptors();
    await setBase(frontend, 4096);
    const first = device.log;
    const bytes = new Uint8Array(first?.view(0, 1) ?? new ArrayBuffer(0));
    bytes[0] = 1;
    await setBase(frontend, 8192);
    assert.equal(bytes[0], 0, 'the old one is closed');
    assert.deepEqual(device.notes, ['log 4096', 'log 8192']);
    await untilDescriptors(before);
    frontend.close();
    await backend.ended;
    assert.deepEqual(device.notes.slice(2), ['abort 0', 'memory 0', 'no log']);
  }));

const TERABYTE = 2 ** 40;
const WRONG: readonly (readonly [string, number, number, number, RegExp])[] = [
  ['of no size', 4096, 0, 0, /a log of 0 bytes: 1 to/],
  ['larger than any', 4096, MAX_VIEW_BYTES + 1, 0, /a log of 1073741825 bytes/],
  ['larger than its file', 4096, 4097, 0, /a file of 4096 bytes, the log ends at 4097/],
  ['that begins too late in its file', 4096, 4096, 1, /the log ends at 4097/],
  ['far beyond its file', 4096, 4096, TERABYTE, /the log ends at/],
  ['that ends beyond all numbers', 4096, 4096, Number.MAX_SAFE_INTEGER, /the log ends at/],
  ['too small for the memory', 4096, 1, 0, /a log of 1 bytes is too small: memory ends at 0x10000/],
];

for (const [what, fileBytes, sizeBytes, offset, reason] of WRONG) {
  test(`a log ${what} is refused`, () =>
    running(async (frontend, { device, log, backend }) => {
      // A message with an answer of its own can only be refused by hanging up.
      const asked = setBase(frontend, fileBytes, sizeBytes, offset);
      await assert.rejects(asked, { code: 'DISCONNECTED' });
      await backend.ended;
      assert.equal(device.log, undefined);
      const line = log.find((text) => text.startsWith('warn SET_LOG_BASE')) ?? '';
      assert.match(line, reason);
      assert.match(line, /connection closed$/);
    }));
}

const ODD: readonly (readonly [string, () => readonly Fd[], RegExp])[] = [
  ['without a descriptor', () => [], /comes with 0 descriptors, not 1/],
  ['in an event descriptor', () => [createEventFd()], /the descriptor is no file/],
];

for (const [what, fds, reason] of ODD) {
  test(`a log ${what} is refused`, () =>
    running(async (frontend, { log, backend }) => {
      const given = fds();
      const asked = frontend.request('SET_LOG_BASE', { sizeBytes: 4096, offset: 0 }, given);
      await assert.rejects(asked, { code: 'DISCONNECTED' });
      await backend.ended;
      assert.match(log.find((text) => text.startsWith('warn SET_LOG_BASE')) ?? '', reason);
      for (const fd of given) fd.close();
    }));
}

test('logging starts and stops under a running ring: of data by features', () =>
  running(async (frontend, { device }) => {
    await setBase(frontend, 4096);
    device.notes.length = 0;
    await frontend.request('SET_FEATURES', { value: FEATURES | LOG_ALL_BIT });
    assert.equal(device.running.get(0)?.features, FEATURES | LOG_ALL_BIT);
    await frontend.request('SET_FEATURES', { value: FEATURES });
    assert.equal(device.running.get(0)?.features, FEATURES);
    assert.deepEqual(device.notes, ['rewire 0', 'rewire 0'], 'it was not halted');
    await frontend.request('SET_FEATURES', { value: FEATURES | LOG_ALL_BIT | 1n });
    assert.deepEqual(device.notes.slice(2), ['finish 0', 'run 0'], 'another feature changes, too');
  }));

test('logging starts and stops under a running ring: of the used ring by its addresses', () =>
  running(async (frontend, { device }) => {
    await setBase(frontend, 4096);
    device.notes.length = 0;
    await frontend.request('SET_VRING_ADDR', { ...RING, flags: 1, log: 0x2000n });
    assert.equal(device.running.get(0)?.usedLogAddress, 0x2000);
    await frontend.request('SET_VRING_ADDR', { ...RING, flags: 1, log: 0x2000n });
    await frontend.request('SET_VRING_ADDR', { ...RING, flags: 0, log: 0x2000n });
    assert.equal(device.running.get(0)?.usedLogAddress, undefined);
    assert.deepEqual(device.notes, ['rewire 0', 'rewire 0']);
  }));

test('a ring that is started keeps its place, logged or not', () =>
  running(async (frontend, { device }) => {
    for (const part of ['descriptor', 'available', 'used'] as const) {
      const moved = { ...RING, flags: 1, log: 0n, [part]: RING[part] + 64 };
      await assert.rejects(frontend.request('SET_VRING_ADDR', moved), REFUSED);
    }
    for (const log of [2n ** 53n, 2n ** 64n - 1n]) {
      const wrong = frontend.request('SET_VRING_ADDR', { ...RING, flags: 1, log });
      await assert.rejects(wrong, REFUSED);
    }
    assert.deepEqual(device.notes, []);
    assert.equal(device.running.get(0)?.usedLogAddress, undefined);
    await frontend.request('SET_VRING_ADDR', { ...RING, flags: 0, log: 2n ** 64n - 1n });
  }));

test('an event descriptor for the log goes to the ring, in place of the old one', () =>
  running(async (frontend, { device }) => {
    const before = await steadyDescriptors();
    using event = createEventFd();
    await frontend.request('SET_LOG_FD', null, [event]);
    assert.notEqual(device.running.get(0)?.logFd, undefined);
    await frontend.request('SET_LOG_FD', null, [event]);
    assert.deepEqual(device.notes, ['rewire 0', 'rewire 0']);
    using file = createMemfd('odd', 4096);
    await assert.rejects(frontend.request('SET_LOG_FD', null, [file]), REFUSED);
    // Both ends of the event descriptor, and the file.
    await untilDescriptors(before + 3);
  }));
