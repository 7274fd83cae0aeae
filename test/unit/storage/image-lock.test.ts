/** An image has one writer: vhostkit, QEMU's programs and other vhostkits exclude each other. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openFileDisk } from '../../../src/storage/index.ts';
import { findProgram } from '../../../tools/guest/programs.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { startStorageDaemon, storageDaemonRequirements } from '../../support/storage-daemon.ts';
import { spawnTied, tiedProcessRequirement } from '../../support/tied-process.ts';

const IMAGE_BYTES = 2 ** 20;

function newImage(t: TestContext): string {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, Buffer.alloc(IMAGE_BYTES));
  return path;
}

function missing(program: string): string | false {
  if (findProgram(program) !== undefined) return false;
  return `${program} is missing; install it: apt-get install qemu-utils`;
}

const noQemuIo = missing('qemu-io') || (tiedProcessRequirement() ?? false);
const noQemuImg = missing('qemu-img');
const noDaemon = storageDaemonRequirements() ?? false;

const HINT = 'stop that process, or use --locking=off if you know that it is safe';

function assertInUse(options: { path: string; readOnly?: boolean }, why: string): void {
  assert.throws(() => openFileDisk(options), {
    name: 'StorageError',
    code: 'DISK_IN_USE',
    message: `${options.path} is in use: ${why} (${HINT})`,
  });
}

test('a writer excludes a second one, and readers', (t) => {
  const path = newImage(t);
  const first = openFileDisk({ path });
  assertInUse({ path }, 'another process forbids writing to it');
  assertInUse({ path, readOnly: true }, 'another process has it open for writing');
  first.close();
  openFileDisk({ path }).close();
});

test('readers go together and exclude a writer', (t) => {
  const path = newImage(t);
  const readers = [
    openFileDisk({ path, readOnly: true }),
    openFileDisk({ path, readOnly: true }),
    openFileDisk({ path, readOnly: true }),
  ];
  assertInUse({ path }, 'another process forbids writing to it');
  for (const reader of readers.slice(1)) reader.close();
  assertInUse({ path }, 'another process forbids writing to it');
  readers[0].close();
  openFileDisk({ path }).close();
});

test('one that is refused leaves no lock behind', (t) => {
  const path = newImage(t);
  const reader = openFileDisk({ path, readOnly: true });
  for (let tries = 0; tries < 3; tries++) assert.throws(() => openFileDisk({ path }));
  openFileDisk({ path, readOnly: true }).close();
  reader.close();
  openFileDisk({ path }).close();
});

test('without locking nobody is refused and nobody excluded', (t) => {
  const path = newImage(t);
  const writer = openFileDisk({ path });
  const careless = openFileDisk({ path, locking: false });
  writer.close();
  const next = openFileDisk({ path });
  next.close();
  careless.close();
});

/** qemu-io with an image open for writing, until `stop`. */
async function startQemuIo(t: TestContext, path: string): Promise<{ stop(): Promise<void> }> {
  const args = ['-f', 'raw', path];
  const { child, ended } = spawnTied('qemu-io', args, ['pipe', 'pipe', 'inherit']);
  t.after(() => child.kill('SIGKILL'));
  const { stdin, stdout } = child;
  assert.ok(stdin !== null && stdout !== null);
  // It answers commands once the image is open.
  stdin.write('length\n');
  let output = '';
  while (!output.includes('MiB')) output += String((await once(stdout, 'data'))[0]);
  const stop = async (): Promise<void> => {
    stdin.end('quit\n');
    await ended;
  };
  return { stop };
}

test('an image that qemu-io writes to is refused', { skip: noQemuIo }, async (t) => {
  const path = newImage(t);
  const writer = await startQemuIo(t, path);
  assertInUse({ path }, 'another process has it open for writing');
  assertInUse({ path, readOnly: true }, 'another process has it open for writing');
  openFileDisk({ path, locking: false }).close();
  await writer.stop();
  openFileDisk({ path }).close();
});

/** Run one of QEMU's programs. Returns what it complains about, if it fails. */
function complaint(program: string, ...args: string[]): string | undefined {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  return status === 0 ? undefined : stdout + stderr;
}

// qemu-io -r is content with an image that changes; qemu-img convert is not.
test('qemu-io is refused an image that is being served', { skip: noQemuIo }, (t) => {
  const path = newImage(t);
  const args = ['-f', 'raw', '-c', 'read 0 512', path];
  const writer = openFileDisk({ path });
  assert.match(complaint('qemu-io', ...args) ?? '', /Failed to get "write" lock/);
  writer.close();
  const reader = openFileDisk({ path, readOnly: true });
  assert.match(complaint('qemu-io', ...args) ?? '', /Failed to get "write" lock/);
  reader.close();
  const careless = openFileDisk({ path, locking: false });
  assert.equal(complaint('qemu-io', ...args), undefined);
  careless.close();
});

test('qemu-img is refused an image that is being served', { skip: noQemuImg }, (t) => {
  const path = newImage(t);
  const resize = ['resize', '-f', 'raw', path, '2M'];
  const convert = ['convert', '-f', 'raw', '-O', 'raw', path, `${path}.copy`];
  const writer = openFileDisk({ path });
  assert.match(complaint('qemu-img', ...resize) ?? '', /Failed to get "write" lock/);
  assert.match(complaint('qemu-img', ...convert) ?? '', /Failed to get shared "write" lock/);
  writer.close();
  const reader = openFileDisk({ path, readOnly: true });
  assert.match(complaint('qemu-img', ...resize) ?? '', /Failed to get "write" lock/);
  assert.equal(complaint('qemu-img', ...convert), undefined);
  reader.close();
  assert.equal(complaint('qemu-img', ...resize), undefined);
});

test('qemu-storage-daemon and a disk exclude each other', { skip: noDaemon }, async (t) => {
  const path = newImage(t);
  const socketPath = join(imageFolder(t), 'socket');
  {
    await using daemon = await startStorageDaemon({ imagePath: path, socketPath });
    assert.ok(daemon.pid > 0);
    assert.throws(() => openFileDisk({ path }), { code: 'DISK_IN_USE' });
    assert.throws(() => openFileDisk({ path, readOnly: true }), { code: 'DISK_IN_USE' });
  }
  const disk = openFileDisk({ path });
  await assert.rejects(
    startStorageDaemon({ imagePath: path, socketPath: `${socketPath}2` }),
    /Failed to get (shared )?"write" lock/,
  );
  disk.close();
});
