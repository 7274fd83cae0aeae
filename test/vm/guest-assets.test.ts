import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { bzImagePayload, extractVmlinux } from '../../tools/guest/bzimage.ts';
import { cpioArchive } from '../../tools/guest/cpio.ts';
import { newestKernel } from '../../tools/guest/kernel.ts';
import { findProgram } from '../../tools/guest/programs.ts';

/** A bzImage with nothing but a setup header and a payload. */
function bzImage(payload: Buffer, protocol = 0x020f): Buffer {
  const setup = Buffer.alloc(1024);
  setup[0x1f1] = 1;
  setup.write('HdrS', 0x202);
  setup.writeUInt16LE(protocol, 0x206);
  setup.writeUInt32LE(16, 0x248);
  setup.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([setup, Buffer.alloc(16), payload]);
}

test('vmlinux comes out of a bzImage', () => {
  const vmlinux = Buffer.from('\x7fELF and the rest of it');
  assert.deepEqual(extractVmlinux(bzImage(gzipSync(vmlinux))), vmlinux);
});

test('what is no bzImage, or holds no known payload, is refused', () => {
  const payload = gzipSync('no kernel');
  assert.throws(() => bzImagePayload(Buffer.alloc(4096)), /no setup header/);
  assert.throws(() => bzImagePayload(Buffer.alloc(16)), /no setup header/);
  assert.throws(() => bzImagePayload(bzImage(payload, 0x0207)), /0x207: too old/);
  assert.throws(() => bzImagePayload(bzImage(payload).subarray(0, 1050)), /truncated/);
  assert.throws(() => extractVmlinux(bzImage(payload)), /gzip payload is no ELF file/);
  assert.throws(() => extractVmlinux(bzImage(Buffer.alloc(64))), /unknown compression/);
});

const cpio = findProgram('cpio');
const skip = cpio === undefined && 'cpio is missing; install it: apt-get install cpio';

test('the cpio program reads our archives, also one behind the other', { skip }, () => {
  const archive = cpioArchive([
    { kind: 'file', path: '/usr/bin/tool', data: Buffer.from('12345'), mode: 0o755 },
    { kind: 'link', path: '/usr/bin/alias', target: 'tool' },
    { kind: 'device', path: '/dev/console', major: 5, minor: 1 },
    { kind: 'folder', path: '/tmp' },
  ]);
  assert.equal(archive.length % 512, 0);
  const listed = execFileSync(String(cpio), ['-itv', '--quiet'], {
    input: archive,
    env: { LC_ALL: 'C', TZ: 'UTC' },
  }).toString();
  const shape = listed.replace(/ +/g, ' ').replaceAll(' Jan 1 1970 ', ' ').trimEnd().split('\n');
  assert.deepEqual(shape, [
    'drwxr-xr-x 1 root root 0 usr',
    'drwxr-xr-x 1 root root 0 usr/bin',
    '-rwxr-xr-x 1 root root 5 usr/bin/tool',
    'lrwxrwxrwx 1 root root 4 usr/bin/alias -> tool',
    'drwxr-xr-x 1 root root 0 dev',
    'crw------- 1 root root 5, 1 dev/console',
    'drwxr-xr-x 1 root root 0 tmp',
  ]);
});

test('the newest kernel is the one with the greatest number', () => {
  const names = [
    'linux-image-6.12.9+deb12-cloud-amd64',
    'linux-image-6.12.117+deb12-cloud-amd64',
    'linux-image-6.12.38+deb13-cloud-amd64',
    'linux-image-6.12.118+deb12-cloud-amd64-unsigned',
    'linux-image-6.12.119+deb12-amd64',
  ];
  assert.equal(newestKernel(names), 'linux-image-6.12.117+deb12-cloud-amd64');
  assert.equal(newestKernel([]), undefined);
});
