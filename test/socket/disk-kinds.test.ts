/** Disks and filters that need no promises, served by the program's threads to a client of ours. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RequestType } from '../../src/virtio-blk/index.ts';
import { imageFolder } from '../support/image-folder.ts';
import { patternBytes } from '../support/request-bytes.ts';
import { ServedDisk } from '../support/served-disk.ts';

const QUEUES = 4;

/** A disk as people write it, served by two threads, with a queue each and more. */
function served(disk: string, ...args: readonly string[]): Promise<ServedDisk> {
  const threads = [`--num-queues=${QUEUES}`, '--threads=2'];
  return ServedDisk.start({ args: [`--disk=${disk}`, ...threads, ...args] });
}

test('memory is one disk to all threads', async () => {
  await using disk = await served('memory(16M)');
  const driver = await disk.connect({ numQueues: QUEUES });
  const parts = Array.from({ length: QUEUES }, (_, queue) => patternBytes(8192, queue));
  await Promise.all(parts.map((part, queue) => driver.write(queue * 16, part, queue)));
  for (let queue = 0; queue < QUEUES; queue++) {
    assert.deepEqual(await driver.read(0, 64, queue), new Uint8Array(Buffer.concat(parts)));
  }
});

test('memory is one disk to all clients, each of them with a process of its own', async () => {
  await using disk = await served('memory(16M)', '--isolate');
  for (let client = 0; client < 3; client++) {
    const driver = await disk.connect({ numQueues: 2 });
    await driver.write(client * 8, patternBytes(4096, client));
    driver.close();
  }
  const driver = await disk.connect({ numQueues: 2 });
  const expected = Buffer.concat([0, 1, 2].map((client) => patternBytes(4096, client)));
  assert.deepEqual(await driver.read(0, 24, 1), new Uint8Array(expected));
});

test('wrong writes to a pattern are counted over all threads', async () => {
  await using disk = await served('pattern(4T)');
  const driver = await disk.connect({ numQueues: QUEUES });
  for (let queue = 0; queue < QUEUES; queue++) {
    const content = await driver.read(queue * 2 ** 30, 8, queue);
    const found = new DataView(content.buffer, content.byteOffset).getBigUint64(8);
    assert.equal(found, BigInt(queue * 2 ** 39 + 8));
    await driver.write(queue * 2 ** 30, content, queue);
    await assert.rejects(driver.write(queue * 2 ** 30 + 8, content, queue), /status 1$/);
  }
  driver.close();
  const { code, stderr } = await disk.server.stop();
  assert.equal(code, 0);
  assert.match(stderr, /warn {2}pattern: 4 writes were not the pattern, the first at offset 4096/);
});

test('threads share the limits of a throttle', async () => {
  await using disk = await served('throttle(null(1G), iops-total=200)');
  const driver = await disk.connect({ numQueues: QUEUES });
  const startedMs = performance.now();
  let done = 0;
  const load = async (queue: number): Promise<void> => {
    while (performance.now() < startedMs + 2000) {
      await Promise.all([0, 8, 16].map((sector) => driver.read(sector, 8, queue)));
      done += 3;
    }
  };
  await Promise.all(Array.from({ length: QUEUES }, (_, queue) => load(queue)));
  const seconds = (performance.now() - startedMs) / 1000;
  // On a busy machine it is less; it is never more than the average, a tenth of a second, and one each.
  assert.ok(done <= 200 * seconds + 20 + QUEUES, `${done} in ${seconds} s`);
  assert.ok(done > 100, `${done} in ${seconds} s`);
});

test('what a throttle or a delay holds back does not hold up the end', async () => {
  for (const filter of ['throttle(null(1G), iops-total=1)', 'delay(null(1G), read=60000)']) {
    await using disk = await served(filter);
    const driver = await disk.connect({ numQueues: QUEUES });
    const reads = Array.from({ length: 32 }, (_, index) => driver.read(index, 1, index % QUEUES));
    for (const read of reads) read.catch(() => {});
    // They pass, and when they are done the server has what came before them.
    for (let queue = 0; queue < QUEUES; queue++) {
      await driver.request({ type: RequestType.FLUSH }, queue);
    }
    const { code, stderr } = await disk.server.stop();
    assert.equal(code, 0, stderr);
    assert.match(stderr, /disconnected: reads 32, flushes 4/);
  }
});

/** Try until it ends like this: files are not looked for with each request. */
async function ends(expected: 'well' | 'badly', action: () => Promise<void>): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    const outcome = await action().then(
      () => 'well',
      () => 'badly',
    );
    if (outcome === expected) return;
    await sleep(10);
  }
  assert.fail(`it never ends ${expected}`);
}

test('a disk fails while a file is there, in a program that is confined', async (t) => {
  const file = join(imageFolder(t), 'trigger');
  await using disk = await served(`error(memory(1M), on=write, file=${file})`);
  const driver = await disk.connect({ numQueues: 2 });
  const data = patternBytes(512);
  await driver.write(0, data);
  writeFileSync(file, '');
  for (const queue of [0, 1]) {
    await ends('badly', () => driver.write(0, data, queue));
    await driver.read(0, 1, queue);
  }
  rmSync(file);
  await ends('well', () => driver.write(0, data));
  driver.close();
  const { stderr } = await disk.server.stop();
  assert.match(stderr, /info {2}error: \d+ requests have failed on purpose/);
});

test('what all threads have done is said on SIGUSR1, regularly, and in the end', async () => {
  await using disk = await served('stats(throttle(memory(1M), iops-total=100000), interval=0.2)');
  const driver = await disk.connect({ numQueues: QUEUES });
  const data = patternBytes(4096);
  const requests = Array.from({ length: 40 }, (_, index) => driver.write(0, data, index % QUEUES));
  await Promise.all(requests);
  await disk.server.logged(/stats, lately \(throttle\): /);
  process.kill(disk.server.pid, 'SIGUSR1');
  const total = /info {2}stats \(throttle\): write: 40 \(\d+\/s\), 160\.0 KiB \(.*; mean .* us/;
  await disk.server.logged(total);
  await driver.read(0, 8, 3);
  const { code, stderr } = await disk.server.stop();
  assert.equal(code, 0);
  assert.match(stderr, /info {2}stats \(throttle\): read: 1 /);
  assert.doesNotMatch(stderr, /[Dd]ebugger/);
});
