/** `--locking=while-running`: two servers have one image open, and one at a time uses it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServedDisk } from '../support/served-disk.ts';

const LOCKING = '--locking=while-running';

test('an image is handed over from one server to the other when its rings stop', async () => {
  await using first = await ServedDisk.start({ args: [LOCKING, '--num-queues=2'] });
  const image = `--blk-file=${first.imagePath}`;
  await using second = await ServedDisk.start({ args: [LOCKING, '--num-queues=2', image] });
  const source = await first.connectRings({ numQueues: 2 });
  await assert.rejects(second.connectRings(), { code: 'REFUSED' });
  await second.server.logged(/SET_VRING_ENABLE .* is in use: .*: refused/);
  const bases = [await source.stopQueue(0)];
  await assert.rejects(second.connectRings(), { code: 'REFUSED' }, 'one ring runs still');
  bases.push(await source.stopQueue(1));
  const target = await second.connect();
  await target.write(0, new Uint8Array(512).fill(5));
  await assert.rejects(source.startQueue(0, bases[0]), { code: 'REFUSED' });
  target.close();
  await second.server.logged(/client 3 disconnected/);
  await source.startQueue(0, bases[0]);
  assert.equal(first.readImage(0, 1)[0], 5);
});

test('who locks the image for good excludes those who use it for a while', async () => {
  await using first = await ServedDisk.start();
  const image = `--blk-file=${first.imagePath}`;
  await using second = await ServedDisk.start({ args: [LOCKING, image] });
  await assert.rejects(second.connectRings(), { code: 'REFUSED' });
});

test('a client that leaves without a word gives the image back', async () => {
  await using first = await ServedDisk.start({ args: [LOCKING] });
  const image = `--blk-file=${first.imagePath}`;
  await using second = await ServedDisk.start({ args: [LOCKING, image] });
  (await first.connect()).close();
  await first.server.logged(/client 1 disconnected/);
  await (await second.connect()).write(0, new Uint8Array(512));
});

test('filters that are objects hand their image over, too', async () => {
  await using first = await ServedDisk.start({ args: [LOCKING] });
  const disk = `--disk=log(file(${first.imagePath}), file=/dev/null)`;
  await using second = await ServedDisk.start({ args: [LOCKING, disk] });
  const source = await first.connect();
  await assert.rejects(second.connectRings(), { code: 'REFUSED' });
  source.close();
  await first.server.logged(/client 1 disconnected/);
  await (await second.connect()).write(0, new Uint8Array(512).fill(7));
  await assert.rejects(first.connectRings(), { code: 'REFUSED' });
  assert.equal(first.readImage(0, 1)[0], 7);
});
