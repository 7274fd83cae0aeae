/** Servers that come and go on one disk: those that are there hear of it, once, and no other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { onFlushesFailed } from '../../../src/exports/vhost-user-blk/flush-alarm.ts';
import { type Disk, nullDisk, openDisk } from '../../../src/storage/index.ts';

/** A disk whose flushes fail when they are told to, and how often somebody has waited for that. */
async function failing(): Promise<{ disk: Disk; fail: () => void; asked: () => number }> {
  let fail = (): void => {};
  let asked = 0;
  const failed = new Promise<string>((resolve) => {
    fail = () => resolve('flushes fail');
  });
  const own = {
    get: () => {
      asked += 1;
      return failed;
    },
  };
  const disk = Object.defineProperty(await openDisk(nullDisk(65536)), 'flushesFailed', own);
  return { disk, fail, asked: () => asked };
}

test('who has left does not hear of it, who comes later does', async () => {
  const { disk, fail, asked } = await failing();
  const heard: string[] = [];
  for (let former = 0; former < 5; former++) onFlushesFailed(disk, () => heard.push('former'))();
  onFlushesFailed(disk, (text) => heard.push(text));
  assert.equal(asked(), 1, 'a promise keeps all who wait for it');
  fail();
  await turn();
  assert.deepEqual(heard, ['flushes fail']);
  onFlushesFailed(disk, (text) => heard.push(`${text} still`));
  assert.deepEqual(heard, ['flushes fail', 'flushes fail still']);
});

test('of a disk that cannot lose what it was given, nobody hears', async () => {
  const disk = await openDisk(nullDisk(65536));
  assert.equal(disk.flushesFailed, undefined);
  onFlushesFailed(disk, () => assert.fail('it was told'))();
});
