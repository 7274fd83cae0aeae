/** Requests that wait in line for slots, when those before them are done at once. */
import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DeviceLimits } from '../../../src/blkio/driver.ts';
import { Blkio, CompletionList } from '../../../src/blkio/index.ts';
import { MappedRegions } from '../../../src/blkio/mapped-regions.ts';
import { QueueCore } from '../../../src/blkio/queue-core.ts';
import { RequestRules } from '../../../src/blkio/request-rules.ts';
import { DiskOperation } from '../../../src/storage/index.ts';
import { PENDING } from '../../../src/sys/index.ts';
import { ScriptedChannel } from '../../support/scripted-channel.ts';

const SIZE_BYTES = 65536;
const LINE = 50_000;
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

test('a line of any length that is refused ends without recursion', () => {
  const channel = new ScriptedChannel();
  channel.results = [PENDING];
  const limits = { requestAlignment: 512, maxTransfer: 0, maxSegments: 1 } as DeviceLimits;
  const results: number[] = [];
  const core: QueueCore = new QueueCore({
    slots: 1,
    rules: new RequestRules(limits, () => SIZE_BYTES),
    regions: new MappedRegions(),
    onComplete: (slot) => {
      results.push(core.results[slot]);
      core.release(slot);
    },
    openChannel: (requests, handler) =>
      Object.assign(channel.open(requests, handler), { needsEventLoop: false, flush: () => {} }),
  });
  const buffer = new Uint8Array(512);
  core.transfer(DiskOperation.READ, 0, buffer, undefined, 0);
  for (let request = 0; request < LINE; request++) {
    core.transfer(DiskOperation.READ, -512, buffer, undefined, 0);
  }
  assert.deepEqual([core.outstanding, results], [LINE + 1, []]);
  channel.finish(0);
  assert.deepEqual([core.outstanding, results.length], [0, LINE + 1]);
  assert.deepEqual([results[0], new Set(results.slice(1))], [0, new Set([EINVAL])]);
  core.close();
});
