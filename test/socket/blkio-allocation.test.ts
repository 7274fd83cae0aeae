/**
 * The client's data path leaves no garbage: blocking queues make requests of 4 KiB by the hundred
 * thousand, in a memory region, and the heap does not grow. A process of its own, whose collector
 * rests meanwhile, counts.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type EngineName, isMemoryBacked, Open, openFile } from '../../src/sys/index.ts';
import { HEAP_OPTIONS } from '../support/heap-growth.ts';
import { type CleanUp, imageFolder } from '../support/image-folder.ts';
import { missingEngine } from '../support/reactors.ts';
import { ServedDisk } from '../support/served-disk.ts';

const PROGRAM = fileURLToPath(new URL('../support/client-allocation-probe.js', import.meta.url));
const LIMIT_MS = 300_000;
const GIB = 2 ** 30;
/** Batches take some system calls: far less than one for each request. */
const NOTHING = 4;
/** An address has too many bits to be passed to a system call as it is: a number of 16 bytes. */
const BOXED_ADDRESS = 24;
/** While writes are slow each of them is timed, which is another number. */
const BOXED_TIME = 16;
/** With more bits than a small integer has, too. */
const FAR = 8 * GIB;
const noUring = missingEngine('io_uring') ?? false;

/** Bytes of heap that a request leaves behind. */
function bytesLeft(engine: EngineName, ...args: readonly (string | number)[]): number {
  const output = execFileSync(process.execPath, [...HEAP_OPTIONS, PROGRAM, ...args.map(String)], {
    encoding: 'utf8',
    timeout: LIMIT_MS,
    env: { ...process.env, VHOSTKIT_ENGINE: engine },
  });
  return JSON.parse(output) as number;
}

function sparseFile(t: CleanUp): string {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, '');
  truncateSync(path, FAR + GIB);
  return path;
}

/** In memory there is nothing for io_uring to wait for: such a file is read by system calls. */
function isInMemory(path: string): boolean {
  using fd = openFile(path, Open.RDONLY);
  return isMemoryBacked(fd.number);
}

suite('a request allocates nothing', { skip: noUring }, () => {
  for (const kind of ['read', 'write']) {
    test(`virtio-blk-vhost-user: ${kind}`, async () => {
      await using disk = await ServedDisk.start({ args: [`--disk=null,size=${FAR + GIB}`] });
      const bytes = bytesLeft('io_uring', 'virtio-blk-vhost-user', disk.socketPath, kind, FAR);
      assert.ok(bytes < NOTHING, `${bytes} bytes`);
    });
  }

  for (const [name, kind, properties] of [
    ['read', 'read', []],
    ['direct read', 'read', ['direct=true']],
    ['direct write', 'write', ['direct=true']],
  ] as const) {
    test(`io_uring: ${name}`, (t) => {
      const path = sparseFile(t);
      if (isInMemory(path)) {
        t.skip('set TMPDIR to a folder that is not in memory');
        return;
      }
      const bytes = bytesLeft('io_uring', 'io_uring', path, kind, FAR, ...properties);
      assert.ok(bytes < NOTHING, `${bytes} bytes`);
    });
  }
});

suite('a request by a system call boxes numbers, and allocates nothing else', () => {
  for (const [kind, most] of [
    ['read', BOXED_ADDRESS],
    ['write', BOXED_ADDRESS + BOXED_TIME],
  ] as const) {
    test(kind, (t) => {
      const bytes = bytesLeft('epoll', 'io_uring', sparseFile(t), kind, 0);
      assert.ok(bytes < most, `${bytes} bytes`);
    });
  }
});
