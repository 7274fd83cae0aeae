/** Memory that cannot be shared as announced, against the real program. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import {
  createEventFd,
  createMemfd,
  createSocketPair,
  type Fd,
  listenUnix,
  Open,
  openFile,
} from '../../src/sys/index.ts';
import { attackSuite } from '../support/attacked-server.ts';
import { createNestedEpoll, createPipe } from '../support/odd-descriptors.ts';
import { packed } from '../support/raw-frontend.ts';
import {
  GUEST_ADDRESS,
  Id,
  memoryTable,
  RAM_BYTES,
  type RawResources,
  USER_ADDRESS,
} from '../support/raw-handshake.ts';
import { afterHandshake, declareRefused } from '../support/refused-messages.ts';

const folder = mkdtempSync(join(tmpdir(), 'vhostkit-hostile-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const smallFile = join(folder, 'small');
writeFileSync(smallFile, Buffer.alloc(4096));

const SIZE = BigInt(RAM_BYTES);
const once = ({ memory }: RawResources): Fd[] => [memory];
const twice = ({ memory }: RawResources): Fd[] => [memory, memory];
const REGION = memoryTable().subarray(8);
const BEYOND = 'a region that ends beyond all addresses';

attackSuite('hostile memory: regions', [], (attack) => {
  const table = (what: string, payload: Buffer, reason: string, fds = once): void =>
    declareRefused(attack, what, { name: 'SET_MEM_TABLE', payload, reason, fds });
  const tooShort = 'the descriptor of a region is a file of 1048576 bytes, the region ends at';
  table('a region of no size', memoryTable(0n, 0n), 'a region of no size');
  table('a region larger than its file', memoryTable(0n, SIZE + 1n), tooShort);
  table('a region behind the end of its file', memoryTable(0n, 4096n, 0n, SIZE), tooShort);
  table('a file offset that overflows', memoryTable(0n, 4096n, 0n, 2n ** 53n - 1n), BEYOND);
  table('a guest address that overflows', memoryTable(2n ** 53n - 1n, SIZE), BEYOND);
  table('a user address that overflows', memoryTable(0n, SIZE, 2n ** 53n - 1n), BEYOND);
  const vast = 'memory region.sizeBytes: 0xf+ is impossibly large';
  table('a size of all ones', memoryTable(0n, 2n ** 64n - 1n), vast);
  table('no descriptor', memoryTable(), '0 descriptors for 1 regions', () => []);
  table('a descriptor too many', memoryTable(), '2 descriptors for 1 regions', twice);
  const lie = Buffer.concat([packed(2), memoryTable().subarray(4)]);
  table('a count that is not true', lie, 'memory table.count is 2 of 1');
  const same = Buffer.concat([packed(2, 0), REGION, REGION]);
  table('the same region twice', same, 'regions overlap', twice);
  const userClash = packed(0n, SIZE, USER_ADDRESS + 4096n, 0n);
  const clash = Buffer.concat([packed(2, 0), REGION, userClash]);
  table('regions that overlap in the front-end', clash, 'regions overlap', twice);

  const single = (guest: bigint): Buffer => packed(0n, guest, SIZE, USER_ADDRESS, 0n);
  declareRefused(attack, 'a region over another', {
    name: 'ADD_MEM_REG',
    payload: single(GUEST_ADDRESS + SIZE / 2n),
    reason: 'regions overlap',
    last: 'SET_MEM_TABLE',
    fds: once,
  });
  declareRefused(attack, 'a region that is not there', {
    name: 'REM_MEM_REG',
    payload: single(GUEST_ADDRESS + 4096n),
    reason: 'there is no such region',
    last: 'SET_MEM_TABLE',
  });
  attack(
    '509 regions are taken, one more is refused',
    (details) =>
      afterHandshake('SET_FEATURES', details, async (raw, { memory }) => {
        const regionAt = (slot: number): Buffer =>
          packed(0n, BigInt(slot) * 8192n, 4096n, USER_ADDRESS + BigInt(slot) * 8192n, 0n);
        for (let slot = 0; slot < 509; slot++) {
          assert.equal(await raw.verdict(Id.ADD_MEM_REG, regionAt(slot), [memory]), 'ack');
        }
        assert.equal(await raw.verdict(Id.ADD_MEM_REG, regionAt(509), [memory]), 'nack');
        assert.equal(await raw.verdict(Id.REM_MEM_REG, regionAt(77)), 'ack');
        assert.equal(await raw.verdict(Id.ADD_MEM_REG, regionAt(509), [memory]), 'ack');
      }),
    [/ADD_MEM_REG \(.*\): more than 509 regions: refused$/],
  );
});

attackSuite('hostile memory: kinds of descriptors', [], (attack) => {
  const noFile = 'the descriptor of a region is no file';
  const kinds: readonly (readonly [string, () => Fd, string])[] = [
    ['a directory', () => openFile(folder, Open.RDONLY), noFile],
    ['an eventfd', () => createEventFd(), noFile],
    ['a character device', () => openFile('/dev/zero', Open.RDWR), noFile],
    ['a pipe', () => createPipe(), noFile],
    ['a socket', () => createSocketPair()[0], noFile],
    ['a file that is too short', () => openFile(smallFile, Open.RDWR), 'the descriptor .* of 4096'],
    ['an empty memory file', () => createMemfd('empty', 0), 'the descriptor .* file of 0 bytes'],
  ];
  for (const [what, make, reason] of kinds) {
    const fds = (): Fd[] => [make()];
    const payload = memoryTable();
    declareRefused(attack, what, { name: 'SET_MEM_TABLE', payload, reason, fds });
  }
  declareRefused(attack, 'a file that is open for reading only', {
    name: 'SET_MEM_TABLE',
    payload: memoryTable(0n, 4096n),
    reason: 'cannot map: mmap: EACCES',
    fds: () => [openFile(smallFile, Open.RDONLY)],
  });
});

attackSuite('hostile set-up: descriptors for events', [], (attack) => {
  const kinds: readonly (readonly [string, () => Fd])[] = [
    ['a pipe', () => createPipe()],
    ['a file', () => openFile(smallFile, Open.RDWR)],
    ['a directory', () => openFile(folder, Open.RDONLY)],
    ['a socket', () => createSocketPair()[0]],
    ['a memory file', () => createMemfd('event', 4096)],
    ['an epoll descriptor that nobody can watch', () => createNestedEpoll()],
  ];
  const reason = 'the descriptor is no event descriptor';
  for (const [what, make] of kinds) {
    for (const name of ['SET_VRING_KICK', 'SET_VRING_CALL', 'SET_VRING_ERR'] as const) {
      const fds = (): Fd[] => [make()];
      declareRefused(attack, what, { name, payload: packed(0n), reason, fds });
    }
  }
  const channels: readonly (readonly [string, () => Fd])[] = [
    ['a pipe', () => createPipe()],
    ['an eventfd', () => createEventFd()],
    ['a listening socket', () => listenUnix(join(folder, `${process.hrtime.bigint()}`), 1)],
  ];
  for (const [what, make] of channels) {
    declareRefused(attack, what, {
      name: 'SET_BACKEND_REQ_FD',
      payload: Buffer.alloc(0),
      reason: 'the back-end channel is no stream socket',
      fds: () => [make()],
    });
  }
  attack('a back-end channel with nobody at the other end does not matter', (details) =>
    afterHandshake('SET_FEATURES', details, async (raw) => {
      const [ours, theirs] = createSocketPair();
      ours.close();
      assert.equal(await raw.verdict(Id.SET_BACKEND_REQ_FD, undefined, [theirs]), 'ack');
      theirs.close();
      assert.equal((await raw.ask(Id.GET_FEATURES)).length, 8);
    }),
  );
});
