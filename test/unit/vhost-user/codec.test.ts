/** The codec: every declared message, there and back, and against bytes written by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  BackendMessages,
  declarationOf,
  type FrontendMessageName,
  FrontendMessages,
  frontendMessageName,
  type MessageDeclaration,
  OTHER_DEVICES_MESSAGES,
} from '../../../src/vhost-user/messages.ts';
import type { Payload } from '../../../src/vhost-user/payload.ts';
import { FieldError, field, Struct } from '../../../src/vhost-user/struct.ts';
import { payloadValues } from '../../support/message-arbitraries.ts';
import { propertyOptions } from '../../support/property-options.ts';

const NAMES = Object.keys(FrontendMessages) as FrontendMessageName[];
const PAYLOADS: readonly (readonly [string, Payload<unknown>])[] = [
  ...Object.entries(FrontendMessages),
  ...Object.entries(BackendMessages),
].flatMap(([name, declaration]) => {
  const { request, reply } = declaration as MessageDeclaration<unknown, unknown>;
  const asked = [`${name} request`, request] as const;
  return reply === undefined ? [asked] : [asked, [`${name} reply`, reply] as const];
});

for (const [name, payload] of PAYLOADS) {
  test(`${name}: what is encoded is accepted, and decodes to the same`, () => {
    const property = fc.property(payloadValues(payload.shape), (value) => {
      const bytes = payload.encode(value);
      assert.ok(payload.accepts(bytes.length));
      assert.deepEqual(payload.decode(bytes), value);
      assert.equal(typeof payload.format(value), 'string');
    });
    fc.assert(property, propertyOptions(60));
  });
}

test('bytes that a payload accepts decode to what encodes to them, or to a FieldError', () => {
  const cases = fc.constantFrom(...PAYLOADS);
  const bytesOf = fc.uint8Array({ maxLength: 330 });
  const property = fc.property(cases, bytesOf, ([, payload], bytes) => {
    if (!payload.accepts(bytes.length)) return;
    let value: unknown;
    try {
      value = payload.decode(bytes);
    } catch (error) {
      assert.ok(error instanceof FieldError, String(error));
      return;
    }
    assert.deepEqual(Buffer.from(payload.encode(value)), Buffer.from(bytes));
  });
  fc.assert(property, propertyOptions(3000));
});

/** Numbers and names of the specification's list of front-end messages. */
const NUMBERS: Record<FrontendMessageName, number> = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SET_BACKEND_REQ_FD: 21,
  IOTLB_MSG: 22,
  SET_VRING_ENDIAN: 23,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  POSTCOPY_ADVISE: 28,
  POSTCOPY_LISTEN: 29,
  POSTCOPY_END: 30,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  RESET_DEVICE: 34,
  VRING_KICK: 35,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
  SET_DEVICE_STATE_FD: 42,
  CHECK_DEVICE_STATE: 43,
  GET_VRING_BASE_SKIP_DRAIN: 45,
};

test('every message has its number, and every number is known by one name', () => {
  for (const name of NAMES) {
    assert.equal(FrontendMessages[name].id, NUMBERS[name], name);
    assert.equal(frontendMessageName(NUMBERS[name]), name);
    assert.ok(!OTHER_DEVICES_MESSAGES.has(NUMBERS[name]), name);
  }
  const all = [...NAMES.map((name) => NUMBERS[name]), ...OTHER_DEVICES_MESSAGES.keys()];
  assert.deepEqual(
    all.sort((a, b) => a - b),
    Array.from({ length: 45 }, (_, index) => index + 1),
  );
  assert.equal(frontendMessageName(0), undefined);
  assert.equal(frontendMessageName(46), undefined);
  assert.deepEqual(
    Object.values(BackendMessages).map(({ id }) => id),
    [1, 2, 4, 5],
  );
});

const REGION = { guestAddress: 0x1000, sizeBytes: 0x2000, userAddress: 0x3000, mmapOffset: 0x4000 };
const REGION_HEX = '0010000000000000 0020000000000000 0030000000000000 0040000000000000';
/** Messages as they lie on the wire, by the layouts of the specification. */
const LAYOUTS: readonly (readonly [FrontendMessageName, unknown, string])[] = [
  ['SET_FEATURES', { value: 0x140000000n }, '0000004001000000'],
  ['SET_VRING_NUM', { index: 1, num: 256 }, '01000000 00010000'],
  [
    'SET_VRING_ADDR',
    { index: 2, flags: 1, descriptor: 0x1122, used: 0x3344, available: 0x5566, log: 0x7788n },
    '02000000 01000000 2211000000000000 4433000000000000 6655000000000000 8877000000000000',
  ],
  ['SET_MEM_TABLE', [REGION, REGION], `02000000 00000000 ${REGION_HEX} ${REGION_HEX}`],
  ['ADD_MEM_REG', { padding: 0, ...REGION }, `0000000000000000 ${REGION_HEX}`],
  [
    'SET_CONFIG',
    { offset: 32, size: 3, flags: 1, bytes: Uint8Array.of(7, 8, 9) },
    '20000000 03000000 01000000 070809',
  ],
  [
    'SET_INFLIGHT_FD',
    { mmapSize: 0x1000, mmapOffset: 0x10, numQueues: 2, queueSize: 128, padding: 0 },
    '0010000000000000 1000000000000000 0200 8000 00000000',
  ],
  [
    'IOTLB_MSG',
    { iova: 1n, sizeBytes: 2n, userAddress: 3n, permission: 3, type: 2 },
    '0100000000000000 0200000000000000 0300000000000000 03 02',
  ],
  ['SET_DEVICE_STATE_FD', { direction: 1, phase: 0 }, '01000000 00000000'],
  ['SET_LOG_BASE', { sizeBytes: 0x8000, offset: 0x1000 }, '0080000000000000 0010000000000000'],
  ['GET_FEATURES', null, ''],
];

for (const [name, value, hex] of LAYOUTS) {
  test(`${name} has the layout of the specification`, () => {
    const { request } = declarationOf(name);
    const bytes = new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
    assert.deepEqual(request.encode(value), bytes);
    assert.deepEqual(request.decode(bytes), value);
  });
}

test('what a log line says of a message can be read', () => {
  const text = (name: FrontendMessageName, value: unknown): string =>
    declarationOf(name).request.format(value);
  assert.equal(text('GET_FEATURES', null), '');
  assert.equal(text('SET_FEATURES', { value: 0x140000000n }), '{value: 0x140000000}');
  assert.equal(text('SET_VRING_NUM', { index: 1, num: 256 }), '{index: 1, num: 256}');
  const table =
    '[{guestAddress: 0x1000, sizeBytes: 0x2000, userAddress: 0x3000, mmapOffset: 0x4000}]';
  assert.equal(text('SET_MEM_TABLE', [REGION]), table);
  const config = { offset: 32, size: 2, flags: 0, bytes: Uint8Array.of(1, 255) };
  assert.equal(text('SET_CONFIG', config), '{offset: 32, size: 2, flags: 0} 01ff');
});

test('counts and sizes that contradict the bytes behind them are told', () => {
  const table = declarationOf('SET_MEM_TABLE').request;
  const bytes = table.encode([REGION]);
  bytes[0] = 2;
  assert.throws(() => table.decode(bytes), { message: 'memory table.count is 2 of 1' });
  assert.equal(table.accepts(8 + 8 * 32), true);
  assert.equal(table.accepts(8 + 9 * 32), false, 'nine regions');
  const config = declarationOf('GET_CONFIG').request;
  const lie = config.encode({ offset: 0, size: 9, flags: 0, bytes: new Uint8Array(8) });
  const message = 'config.size is 9, but 8 bytes follow';
  assert.throws(() => config.decode(lie), { name: 'FieldError', message });
  assert.deepEqual([config.accepts(12 + 256), config.accepts(12 + 257)], [true, false]);
});

test('numbers that do not fit their field are refused, not cut', () => {
  const struct = new Struct('s', {
    a: field('u8', ''),
    b: field('u16', ''),
    c: field('u32', ''),
    d: field('u64', ''),
    e: field('size64', ''),
  });
  assert.equal(struct.sizeBytes, 23);
  const good = { a: 1, b: 1, c: 1, d: 1n, e: 1 };
  const view = new DataView(new ArrayBuffer(23));
  const wrong = [{ a: 256 }, { b: -1 }, { c: 2 ** 32 }, { d: 2n ** 64n }, { d: -1n }, { e: 0.5 }];
  for (const part of wrong) {
    const [name] = Object.keys(part);
    const message = new RegExp(`^s\\.${name}: .* is no `);
    assert.throws(() => struct.write(view, 0, { ...good, ...part }), {
      name: 'FieldError',
      message,
    });
  }
  view.setBigUint64(15, 2n ** 53n, true);
  assert.throws(() => struct.read(view, 0), /s\.e: 0x20000000000000 is impossibly large/);
});
