/** The filter copy-on-write on real files: against a model, over reopening, with files that are wrong. */
import assert from 'node:assert/strict';
import {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  copyOnWrite,
  type DiskLike,
  file,
  openAccess,
  openDisk,
  parseDisk,
  readonly,
  StorageError,
} from '../../../../src/storage/index.ts';
import { commitOverlay } from '../../../../src/storage/tools.ts';
import { compareWithModel } from '../../../support/filter-model.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { seededRandom } from '../../../support/power-loss.ts';

const SIZE_BYTES = 300 * 1024 + 512;

interface Place {
  readonly folder: string;
  readonly base: string;
  readonly overlay: string;
  readonly content: Buffer;
}

function place(t: TestContext): Place {
  const folder = imageFolder(t);
  const base = join(folder, 'base.img');
  const content = Buffer.alloc(SIZE_BYTES);
  for (let at = 0; at < SIZE_BYTES; at++) content[at] = 1 + ((at >> 9) % 250);
  writeFileSync(base, content);
  return { folder, base, overlay: join(folder, 'changes.cow'), content };
}

async function using(plan: DiskLike, use: (access: ReturnType<typeof openAccess>) => unknown) {
  const disk = await openDisk(plan);
  const access = openAccess(disk);
  await use(access);
  access.close();
  await disk.close();
}

async function write(plan: DiskLike, data: Uint8Array, offset: number): Promise<void> {
  await using(plan, async (access) => access.write(data, offset));
}

for (const block of [4096, 65536]) {
  test(`random requests over blocks of ${block} agree with the model, over reopening`, async (t) => {
    const { base, overlay, content } = place(t);
    const model = Buffer.from(content);
    const random = seededRandom(block);
    for (let round = 0; round < 8; round++) {
      const disk = await openDisk(copyOnWrite(file(base), { overlay, block }));
      await compareWithModel(disk, model, { random, batches: 25, keepsDiscarded: true });
      await disk.close();
    }
    assert.ok(readFileSync(base).equals(content), 'the base is as it was');
    await commitOverlay(copyOnWrite(file(base), { overlay }));
    assert.ok(readFileSync(base).equals(model), 'the base is what the guest has seen');
    const disk = await openDisk(copyOnWrite(file(base), { overlay }));
    assert.match(disk.description, /has 0 of \d+ blocks/);
    await compareWithModel(disk, model, { random, batches: 10, keepsDiscarded: true });
    await disk.close();
  });
}

test('without a file what is written is gone when the disk is closed', async (t) => {
  const { folder, base, content } = place(t);
  const model = Buffer.from(content);
  const disk = await openDisk(copyOnWrite(file(base)));
  const options = { random: seededRandom(5), batches: 60, keepsDiscarded: true };
  await compareWithModel(disk, model, options);
  await disk.close();
  assert.ok(!model.equals(content), 'something was written');
  assert.ok(readFileSync(base).equals(content));
  assert.deepEqual(readdirSync(folder), ['base.img']);
});

test('two overlays of one base are two disks', async (t) => {
  const { base, overlay, content } = place(t);
  const first = copyOnWrite(file(base), { overlay });
  const second = copyOnWrite(file(base), { overlay: `${overlay}2` });
  const disks = [await openDisk(first), await openDisk(second)];
  for (const [index, disk] of disks.entries()) {
    const model = Buffer.from(content);
    const random = seededRandom(index);
    await compareWithModel(disk, model, { random, batches: 20, keepsDiscarded: true });
  }
  for (const disk of disks) await disk.close();
});

test('overlays can be stacked', async (t) => {
  const { base, overlay, content } = place(t);
  const lower = copyOnWrite(file(base), { overlay, block: 16384 });
  const model = Buffer.from(content);
  const random = seededRandom(11);
  const disk = await openDisk(lower);
  await compareWithModel(disk, model, { random, batches: 20, keepsDiscarded: true });
  await disk.close();
  const before = readFileSync(overlay);
  const upper = await openDisk(copyOnWrite(lower, { overlay: `${overlay}2`, block: 4096 }));
  await compareWithModel(upper, model, { random, batches: 20, keepsDiscarded: true });
  await upper.close();
  assert.ok(readFileSync(overlay).equals(before), 'the lower overlay is as it was');
});

test('an overlay takes the space of what was written, and gives it back', async (t) => {
  const { base, overlay } = place(t);
  truncateSync(base, 2 ** 30);
  const spaceBytes = (): number => statSync(overlay).blocks * 512;
  await write(copyOnWrite(file(base), { overlay }), Buffer.alloc(2 ** 20, 7), 2 ** 29);
  assert(spaceBytes() >= 2 ** 20 && spaceBytes() < 2 ** 21, `${spaceBytes()} bytes`);
  await using(copyOnWrite(file(base), { overlay }), (access) => access.discard(2 ** 29, 2 ** 20));
  assert(spaceBytes() < 2 ** 17, `${spaceBytes()} bytes after a discard`);
});

test('a base that has been written since is refused, and so is another one', async (t) => {
  const { base, overlay, content } = place(t);
  const plan = copyOnWrite(file(base), { overlay });
  await write(plan, Buffer.alloc(4096, 7), 8192);
  const isRefused = (problem: RegExp) =>
    assert.rejects(openDisk(plan), (error: StorageError) => {
      assert.equal(error.code, 'DISK_FORMAT');
      assert.match(error.message, problem);
      return true;
    });
  await write(file(base), Buffer.alloc(512, 3), 0);
  await isRefused(/the disk below is another one, or has been written since/);
  writeFileSync(base, content.subarray(512));
  await isRefused(/its disk has \d+ bytes, the one below \d+/);
  writeFileSync(base, content);
  await (await openDisk(plan)).close();
});

const DAMAGES: readonly [string, (file: Buffer) => Buffer, RegExp][] = [
  ['with a byte of its header changed', (file) => file.fill(99, 45, 46), /header is damaged/],
  ['that is something else', (file) => file.fill('qcow', 0, 4096), /no file of the filter/],
  ['with an impossible block', (file) => file.fill(0x33, 4100, 4101), /table of blocks is damaged/],
  [
    'with blocks behind its end',
    (file) => file.fill(0x11, 8000, 8001),
    /table of blocks is damaged/,
  ],
  ['that was truncated', (file) => file.subarray(0, file.length - 4096), /bytes in place of/],
  ['of no size to speak of', (file) => file.subarray(0, 512), /no file of the filter/],
];

for (const [name, damage, problem] of DAMAGES) {
  test(`an overlay ${name} is refused, and not changed`, async (t) => {
    const { base, overlay } = place(t);
    const plan = copyOnWrite(file(base), { overlay });
    await write(plan, Buffer.alloc(4096, 7), 8192);
    const damaged = damage(readFileSync(overlay));
    writeFileSync(overlay, damaged);
    for (const attempt of [() => openDisk(plan), () => commitOverlay(plan)]) {
      await assert.rejects(attempt, (error: StorageError) => {
        assert.equal(error.code, 'DISK_FORMAT');
        assert.match(error.message, problem);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
      assert.ok(readFileSync(overlay).equals(damaged));
    }
  });
}

const REFUSALS: readonly [string, string, RegExp][] = [
  ['block=5000', 'DISK_OPTION', /block is "5000": expected a power of two/],
  ['block=1K', 'DISK_OPTION', /expected a power of two from 4096/],
  ['overlay=', 'DISK_OPTION', /overlay is "": expected a path/],
  ['overlay=/nowhere/at/all', 'DISK_OPEN_FAILED', /cannot make \/nowhere\/at\/all/],
  ['overlay=/', 'DISK_NOT_A_FILE', /a directory/],
];

for (const [argument, code, problem] of REFUSALS) {
  test(`${argument} is refused`, async (t) => {
    const { base } = place(t);
    await assert.rejects(
      async () => openDisk(parseDisk(`copy-on-write(file(${base}), ${argument})`)),
      (error: StorageError) => error.code === code && problem.test(error.message),
    );
  });
}

test('an overlay with other blocks than asked for is refused', async (t) => {
  const { base, overlay } = place(t);
  await using(copyOnWrite(file(base), { overlay, block: 4096 }), () => {});
  const other = copyOnWrite(file(base), { overlay, block: 8192 });
  await assert.rejects(openDisk(other), { code: 'DISK_OPTION' });
});

test('an overlay that is in use is refused', async (t) => {
  const { base, overlay } = place(t);
  const plan = copyOnWrite(file(base), { overlay });
  const disk = await openDisk(plan);
  await assert.rejects(openDisk(plan), { code: 'DISK_IN_USE' });
  await assert.rejects(commitOverlay(plan), { code: 'DISK_IN_USE' });
  await disk.close();
  await commitOverlay(plan);
});

test('a commit without an overlay is refused, and makes none', async (t) => {
  const { base, overlay } = place(t);
  await assert.rejects(commitOverlay(copyOnWrite(file(base))), { code: 'DISK_OPTION' });
  await assert.rejects(commitOverlay(file(base)), { code: 'DISK_OPTION' });
  const missing = commitOverlay(copyOnWrite(file(base), { overlay }));
  await assert.rejects(missing, { code: 'DISK_OPEN_FAILED' });
  assert.equal(existsSync(overlay), false);
});

test('a commit to a base that is open leaves it open', async (t) => {
  const { base, overlay, content } = place(t);
  await write(copyOnWrite(file(base), { overlay }), Buffer.alloc(4096, 7), 8192);
  const open = await openDisk(file(base));
  await commitOverlay(copyOnWrite(open, { overlay }));
  const access = openAccess(open);
  const found = new Uint8Array(512);
  await access.read(found, 8192);
  assert.deepEqual(found, new Uint8Array(512).fill(7));
  await access.write(content.subarray(0, 512), 0);
  access.close();
  await open.close();
});

test('a commit to a base that cannot be written is refused, and the overlay is as before', async (t) => {
  const { base, overlay } = place(t);
  const plan = copyOnWrite(readonly(file(base)), { overlay });
  await write(plan, Buffer.alloc(4096, 7), 8192);
  const before = readFileSync(overlay);
  await assert.rejects(commitOverlay(plan), {
    code: 'DISK_OPTION',
    message: /the disk below cannot be written/,
  });
  assert.ok(readFileSync(overlay).equals(before));
});

test('an overlay can be read only: nothing is made, nothing is written', async (t) => {
  const { base, overlay } = place(t);
  const plan = copyOnWrite(file(base), { overlay });
  const empty = await openDisk(plan, { readOnly: true });
  assert.equal(empty.info.readOnly, true);
  await empty.close();
  assert.equal(existsSync(overlay), false);
  await write(plan, Buffer.alloc(4096, 7), 8192);
  const before = readFileSync(overlay);
  const disk = await openDisk(plan, { readOnly: true });
  const access = openAccess(disk);
  const found = Buffer.alloc(4096);
  await access.read(found, 8192);
  assert.ok(found.every((byte) => byte === 7));
  assert.throws(() => access.write(found, 0), { code: 'EROFS' });
  access.close();
  await disk.close();
  assert.ok(readFileSync(overlay).equals(before));
});

test('errors are those of the class for disks', async (t) => {
  const { base } = place(t);
  await assert.rejects(openDisk(copyOnWrite(file(base), { overlay: '/dev/null' })), StorageError);
});
