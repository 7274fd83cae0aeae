/** The ways into disks for code: what an access refuses, what it does another way, many at once. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import {
  type Disk,
  type DiskAccess,
  DiskFlag,
  type DiskObject,
  DiskOperation,
  type DiskRequestHandler,
  type DiskRequests,
  openAccess,
  openDisk,
} from '../../../src/storage/index.ts';
import { Errno, PENDING, type Reactor } from '../../../src/sys/index.ts';
import { LabDisk } from '../../support/lab-disk.ts';
import { OwnDisk } from '../../support/own-disk-server.ts';
import { ScriptedDisk } from '../../support/scripted-disk.ts';
import { within } from '../../support/within.ts';

const BLOCK = 4096;

function labDisk(): LabDisk {
  return new LabDisk({ content: Buffer.alloc(65536, 7), blockBytes: BLOCK });
}

async function objectDisk(): Promise<Disk> {
  const object: DiskObject = {
    sizeBytes: 65536,
    logicalBlockBytes: BLOCK,
    read() {},
    write() {},
    discard() {},
    writeZeroes() {},
  };
  return openDisk(object);
}

const WRONG = [
  [-BLOCK, BLOCK],
  [1, BLOCK],
  [512, BLOCK],
  [0, 512],
  [0, BLOCK + 1],
  [65536, BLOCK],
  [65536 - BLOCK, 2 * BLOCK],
  [2 ** 32, BLOCK],
  [2 ** 60, BLOCK],
  [Number.NaN, BLOCK],
  [0.5, BLOCK],
] as const;

for (const [name, open] of [
  ['a channel', async () => labDisk()],
  ['an object', objectDisk],
] as const) {
  test(`what is not on the disk is refused with EINVAL: ${name}`, async () => {
    const disk = await open();
    const access = openAccess(disk);
    const uses: ((offset: number, length: number) => void | Promise<void>)[] = [
      (offset, length) => access.read(new Uint8Array(length), offset),
      (offset, length) => access.write(new Uint8Array(length), offset),
      (offset, length) => access.discard(offset, length),
      (offset, length) => access.writeZeroes(offset, length),
    ];
    for (const [offset, length] of WRONG) {
      for (const use of uses) {
        await assert.rejects(async () => use(offset, length), { code: 'EINVAL' });
      }
    }
    for (const [offset, problem] of [
      [512, `no multiple of blocks of ${BLOCK} bytes`],
      [65536, 'not within the disk of 65536 bytes'],
    ] as const) {
      await assert.rejects(async () => access.read(new Uint8Array(BLOCK), offset), {
        message: `read ${BLOCK} bytes at offset ${offset}: ${problem}: EINVAL: invalid argument`,
      });
    }
    for (const use of uses) await use(65536 - BLOCK, BLOCK);
    access.close();
    await disk.close();
  });
}

test('an error says what failed, and where', async () => {
  const disk = labDisk();
  const access = openAccess(disk);
  disk.faults = { resultOf: () => -Errno.ENOSPC };
  const expected = { code: 'ENOSPC', errno: Errno.ENOSPC, syscall: 'write' };
  for (let round = 0; round < 10; round++) {
    await assert.rejects(async () => access.write(new Uint8Array(BLOCK), BLOCK), {
      ...expected,
      message: /^write 4096 bytes at offset 4096: ENOSPC/,
    });
  }
  access.close();
});

test('zeros are written where a disk has no better way, but not if that has to be fast', async () => {
  const info = { canWriteZeroes: false, canDiscard: false };
  const content = Buffer.alloc(2 ** 20, 7);
  const disk = new LabDisk({ content, blockBytes: 512, info });
  const access = openAccess(disk);
  await assert.rejects(async () => access.writeZeroes(0, 512, { mustBeFast: true }), {
    code: 'ENOTSUP',
  });
  assert.ok(disk.content.every((byte) => byte === 7));
  await access.writeZeroes(512, 2 ** 20 - 1024);
  assert.deepEqual([...disk.content.subarray(510, 514)], [7, 7, 0, 0]);
  assert.ok(disk.content.subarray(512, -512).every((byte) => byte === 0));
  assert.equal(disk.content.at(-1), 7);
  await access.discard(0, 512);
  assert.equal(disk.content[0], 7);
  access.close();
});

test('an access that is in use is not closed', async () => {
  const disk = labDisk();
  const access = openAccess(disk);
  const ends = Array.from({ length: 50 }, async () => access.read(new Uint8Array(BLOCK), 0));
  assert.throws(() => access.close(), { code: 'EBUSY' });
  await Promise.all(ends);
  access.close();
});

/** Reads take until they are told; everything else is done at once. */
class HalfHeldDisk extends OwnDisk {
  readonly description = 'holds reads back';
  readonly held: (() => void)[] = [];

  openChannel(_reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler) {
    return {
      start: (slot: number): number => {
        if (requests.operation[slot] !== DiskOperation.READ) return 0;
        this.held.push(() => handler.onDiskDone(slot, 0));
        return PENDING;
      },
      close: () => {},
    };
  }
}

test('however many requests wait, one that ends lets all go on that need no time', async () => {
  const disk = new HalfHeldDisk(labDisk());
  const access: DiskAccess = openAccess(disk);
  const reads = Array.from({ length: 256 }, async () => access.read(new Uint8Array(BLOCK), 0));
  const data = new Uint8Array(BLOCK);
  const writes = Array.from({ length: 100_000 }, async () => access.write(data, 0));
  disk.held.shift()?.();
  await within(Promise.all(writes), 'all writes');
  for (const end of disk.held.splice(0)) end();
  await within(Promise.all(reads), 'all reads');
  access.close();
});

test('a process goes on while requests are under way, and ends with an access open', () => {
  const index = new URL('../../../src/storage/index.js', import.meta.url).href;
  const lab = new URL('../../support/lab-disk.js', import.meta.url).href;
  const program = `
    import { openAccess } from ${JSON.stringify(index)};
    import { LabDisk } from ${JSON.stringify(lab)};
    const access = openAccess(new LabDisk({ content: Buffer.alloc(65536) }));
    const ends = Array.from({ length: 100 }, async () => access.read(new Uint8Array(512), 0));
    await Promise.all(ends);
    console.log('read');
  `;
  const args = ['--input-type=module', '--eval', program];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.deepEqual([status, stdout, stderr], [0, 'read\n', '']);
});

for (const writeBack of [true, false]) {
  const what = writeBack
    ? 'that caches writes gets them as they are'
    : 'without a cache is held to it';
  test(`a disk ${what}`, async () => {
    const disk = new ScriptedDisk({ writeBack, canDiscard: true, canWriteZeroes: true });
    const access = openAccess(disk);
    await access.write(new Uint8Array(BLOCK), 0);
    await access.writeZeroes(0, BLOCK, { mayUnmap: true });
    await access.discard(0, BLOCK);
    await access.read(new Uint8Array(BLOCK), 0);
    const flags = disk.channel.asked.map((request) => request.flags);
    const stable = writeBack ? 0 : DiskFlag.STABLE;
    assert.deepEqual(flags, [stable, DiskFlag.UNMAP | stable, stable, 0]);
    access.close();
  });
}
