/** Requests that wait in line for slots, when those before them are done at once. */
import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Blkio, CompletionList } from '../../../src/blkio/index.ts';

const SIZE_BYTES = 65536;
const EINVAL = -22;

/** Run `use` with a started device of a file. */
async function withDevice(use: (device: Blkio) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'queue-line-'));
  const path = join(folder, 'disk');
  const fd = openSync(path, 'w');
  ftruncateSync(fd, SIZE_BYTES);
  closeSync(fd);
  const device = new Blkio('io_uring');
  try {
    device.set('path', path);
    await device.connect();
    device.set('num-entries', 4);
    await device.start();
    await use(device);
  } finally {
    device.close();
    rmSync(folder, { recursive: true });
  }
}

test('doIo waits for more requests than there are slots, all of which are refused', () =>
  withDevice(async (device) => {
    const queue = device.queue(0);
    const completions = new CompletionList(100);
    for (let request = 0; request < 100; request++) {
      queue.read(-512, new Uint8Array(512), request);
    }
    assert.equal(queue.doIo(completions, 100), 100);
    assert.deepEqual(new Set(completions.results), new Set([EINVAL]));
    assert.deepEqual(new Set(completions.userData).size, 100, 'each once');
    assert.equal(queue.outstanding, 0);
  }));

test('a line of any length that is refused ends without recursion', () =>
  withDevice(async (device) => {
    const queue = device.asyncQueue(0);
    const first = queue.read(0, new Uint8Array(512));
    const rest = Array.from({ length: 50_000 }, () => queue.read(-512, new Uint8Array(1)));
    const results = await Promise.allSettled([first, ...rest]);
    assert.equal(results.filter(({ status }) => status === 'rejected').length, 50_000);
    assert.equal(results[0].status, 'fulfilled');
    assert.equal(queue.outstanding, 0);
  }));
