/** Rings that cannot be: sizes, numbers, places and times, against the real program. */
import assert from 'node:assert/strict';
import type { Fd } from '../../src/sys/index.ts';
import { attackSuite } from '../support/attacked-server.ts';
import { packed } from '../support/raw-frontend.ts';
import {
  GUEST_ADDRESS,
  Id,
  memoryTable,
  RAM_BYTES,
  type RawResources,
  RING,
  ringAddresses,
  USER_ADDRESS,
} from '../support/raw-handshake.ts';
import { afterHandshake, declareRefused } from '../support/refused-messages.ts';

const kickOf = (resources: RawResources): Fd[] => [resources.kick];

attackSuite('hostile rings: numbers', [], (attack) => {
  for (const size of [0, 3, 100, 2048, 65536, 2 ** 31, 2 ** 32 - 1]) {
    const reason = `ring 0 of size ${size}: must be a power of two, at most 1024`;
    const payload = packed(0, size);
    declareRefused(attack, `a size of ${size}`, { name: 'SET_VRING_NUM', payload, reason });
  }
  const reason = 'ring \\d+: the device has 8';
  for (const index of [8, 255, 2 ** 32 - 1]) {
    for (const name of ['SET_VRING_NUM', 'SET_VRING_BASE', 'SET_VRING_ENABLE'] as const) {
      declareRefused(attack, `ring ${index}`, { name, payload: packed(index, 1), reason });
    }
    const payload = ringAddresses(index);
    declareRefused(attack, `ring ${index}`, { name: 'SET_VRING_ADDR', payload, reason });
  }
  for (const name of ['SET_VRING_KICK', 'SET_VRING_CALL', 'SET_VRING_ERR'] as const) {
    declareRefused(attack, 'ring 255', { name, payload: packed(255n), reason, fds: kickOf });
    const without = { name, payload: packed(0n), reason: 'comes with no descriptor' };
    declareRefused(attack, 'no descriptor', without);
    const both = { name, payload: packed(0x100n), reason: 'comes with a descriptor, though' };
    declareRefused(attack, 'a descriptor, and the word that there is none', {
      ...both,
      fds: kickOf,
    });
  }
});

attackSuite('hostile rings: switches and features', [], (attack) => {
  const refused = (
    what: string,
    name: keyof typeof Id,
    payload: Buffer,
    reason: string,
    last: keyof typeof Id = 'SET_FEATURES',
  ): void => declareRefused(attack, what, { name, payload, reason, last });
  refused('a switch of 2', 'SET_VRING_ENABLE', packed(0, 2), 'enable is 2');
  refused('an index above 65535', 'SET_VRING_BASE', packed(0, 65536), 'ring 0 gets base 65536');
  refused('a status above 255', 'SET_STATUS', packed(256n), 'status above 255');
  const text = 'features that were not offered: 0x10000000000';
  refused('a feature not offered', 'SET_FEATURES', packed(1n << 40n), text, 'SET_OWNER');
  const bit = 'protocol features that were not offered: bit 40';
  refused('a bit not offered', 'SET_PROTOCOL_FEATURES', packed(1n << 40n), bit);
  const config = packed(0, 4, 0, 77);
  refused('a read-only field', 'SET_CONFIG', config, 'the configuration cannot be written so');
  const early = { name: 'SET_VRING_KICK', payload: packed(0n), fds: kickOf } as const;
  declareRefused(attack, 'features unknown', {
    ...early,
    last: 'SET_PROTOCOL_FEATURES',
    reason: 'comes before SET_FEATURES',
  });
  attack(
    'configuration bytes that cannot be are answered with nothing',
    (details) =>
      afterHandshake('SET_FEATURES', details, async (raw) => {
        const request = Buffer.concat([packed(250, 8, 0), Buffer.alloc(8)]);
        assert.equal((await raw.ask(Id.GET_CONFIG, request)).length, 0);
        const lie = Buffer.concat([packed(0, 9, 0), Buffer.alloc(8)]);
        assert.equal((await raw.ask(Id.GET_CONFIG, lie)).length, 0);
        const huge = Buffer.concat([packed(2 ** 32 - 4, 8, 0), Buffer.alloc(8)]);
        assert.equal((await raw.ask(Id.GET_CONFIG, huge)).length, 0);
      }),
    [
      /GET_CONFIG \(.*\): configuration bytes 250 to 258: refused$/,
      /GET_CONFIG \(.*\): config.size is 9, but 8 bytes follow: refused$/,
      /GET_CONFIG \(.*\): configuration bytes 4294967292 to 4294967300: refused$/,
    ],
  );
});

const END = USER_ADDRESS + BigInt(RAM_BYTES);
const [TABLE, AVAILABLE, USED] = [RING.descriptors, RING.available, RING.used].map(
  (offset) => USER_ADDRESS + BigInt(offset),
);
const ABSENT = 'which is not in the memory table';
const CROOKED = 'which is misaligned';
/** What is wrong, which part of the ring is complained about, why, and addresses of the parts. */
const WRONG_PLACES: readonly (readonly [string, string, string, [bigint, bigint, bigint]])[] = [
  ['descriptors behind memory', 'descriptor table', ABSENT, [END, AVAILABLE, USED]],
  ['descriptors that end behind memory', 'descriptor table', ABSENT, [END - 240n, AVAILABLE, USED]],
  ['a used ring that ends behind memory', 'used ring', ABSENT, [TABLE, AVAILABLE, END - 128n]],
  ['an available ring at 0', 'available ring', ABSENT, [TABLE, 0n, USED]],
  ['guest addresses', 'descriptor table', ABSENT, [GUEST_ADDRESS, AVAILABLE, USED]],
  ['misaligned descriptors', 'descriptor table', CROOKED, [TABLE + 8n, AVAILABLE, USED]],
  ['a misaligned available ring', 'available ring', CROOKED, [TABLE, AVAILABLE + 1n, USED]],
  ['a misaligned used ring', 'used ring', CROOKED, [TABLE, AVAILABLE, USED + 2n]],
];

attackSuite('hostile rings: places', [], (attack) => {
  for (const [what, part, why, places] of WRONG_PLACES) {
    attack(
      `a ring with ${what} does not start`,
      (details) =>
        afterHandshake('SET_VRING_BASE', details, async (raw, { kick }) => {
          assert.equal(await raw.verdict(Id.SET_VRING_ADDR, ringAddresses(0, ...places)), 'ack');
          assert.equal(await raw.verdict(Id.SET_VRING_KICK, packed(0n), [kick]), 'ack');
          assert.equal(await raw.verdict(Id.SET_VRING_ENABLE, packed(0, 1)), 'nack');
        }),
      [new RegExp(`SET_VRING_ENABLE \\(.*\\): ring 0 has its ${part} at .*, ${why}: refused$`)],
    );
  }
  attack(
    'a ring that is aligned for the front-end but not in its file does not start',
    (details) =>
      afterHandshake('SET_FEATURES', details, async (raw, { memory, kick }) => {
        const shifted = memoryTable(GUEST_ADDRESS, 65536n, USER_ADDRESS, 1n);
        assert.equal(await raw.verdict(Id.SET_MEM_TABLE, shifted, [memory]), 'ack');
        assert.equal(await raw.verdict(Id.SET_VRING_NUM, packed(0, RING.size)), 'ack');
        assert.equal(await raw.verdict(Id.SET_VRING_ADDR, ringAddresses()), 'ack');
        assert.equal(await raw.verdict(Id.SET_VRING_KICK, packed(0n), [kick]), 'ack');
        assert.equal(await raw.verdict(Id.SET_VRING_ENABLE, packed(0, 1)), 'nack');
      }),
    [/SET_VRING_ENABLE \(.*\): ring 0 has its descriptor table .* misaligned: refused$/],
  );
  declareRefused(attack, 'an address beyond all memory', {
    name: 'SET_VRING_ADDR',
    payload: ringAddresses(0, 2n ** 64n - 16n),
    reason: 'vring address.descriptor: 0xf+0 is impossibly large',
  });
});

attackSuite('hostile rings: times', [], (attack) => {
  attack(
    'a ring that is kicked and enabled before it has a size does not run',
    (details) =>
      afterHandshake('SET_MEM_TABLE', details, async (raw, { kick }) => {
        assert.equal(await raw.verdict(Id.SET_VRING_KICK, packed(0n), [kick]), 'ack');
        assert.equal(await raw.verdict(Id.SET_VRING_ENABLE, packed(0, 1)), 'nack');
        assert.equal((await raw.ask(Id.GET_VRING_BASE, packed(0, 0))).length, 8);
      }),
    [/SET_VRING_ENABLE \(.*\): ring 0 has no size \(SET_VRING_NUM\): refused$/],
  );
  attack(
    'a ring that is kicked before it has addresses, and enabled from the start, does not run',
    (details) =>
      afterHandshake('SET_OWNER', details, async (raw, { kick }) => {
        // Without PROTOCOL_FEATURES the kick alone starts the ring.
        assert.equal(await raw.verdict(Id.SET_FEATURES, packed(1n << 32n)), 'ack');
        assert.equal(await raw.verdict(Id.SET_VRING_NUM, packed(0, 16)), 'ack');
        assert.equal(await raw.verdict(Id.SET_VRING_KICK, packed(0n), [kick]), 'nack');
      }),
    [/SET_VRING_KICK \(.*\): ring 0 has no addresses \(SET_VRING_ADDR\): refused$/],
  );
  attack(
    'a ring that runs is not resized, moved or given an index',
    (details) =>
      afterHandshake('SET_VRING_ENABLE', details, async (raw) => {
        assert.equal(await raw.verdict(Id.SET_VRING_NUM, packed(0, 8)), 'nack');
        assert.equal(await raw.verdict(Id.SET_VRING_BASE, packed(0, 1)), 'nack');
        const moved = ringAddresses(0, TABLE + 16n);
        assert.equal(await raw.verdict(Id.SET_VRING_ADDR, moved), 'nack');
        assert.equal(await raw.verdict(Id.SET_VRING_ADDR, ringAddresses()), 'ack', 'as it was');
      }),
    [
      /SET_VRING_NUM \(negotiated, ring 0 running\): ring 0 is resized while it is started: /,
      /SET_VRING_BASE \(negotiated, ring 0 running\): ring 0 gets a base while it is started: /,
      /SET_VRING_ADDR \(negotiated, ring 0 running\): ring 0 is moved while it is started: /,
    ],
  );
  attack('rings may be stopped, started and kicked again at any time', (details) =>
    afterHandshake('SET_VRING_ENABLE', details, async (raw, { kick }) => {
      for (let round = 0; round < 50; round++) {
        assert.equal(await raw.verdict(Id.SET_VRING_ENABLE, packed(0, round & 1)), 'ack');
        assert.equal(await raw.verdict(Id.SET_VRING_KICK, packed(0n), [kick]), 'ack');
        if (round % 3 === 0) await raw.ask(Id.GET_VRING_BASE, packed(0, 0));
      }
    }),
  );
});
