/** A server with nothing to do costs nothing: no thread of it wakes up. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sleepCounts } from '../../fuzz/process-facts.ts';
import { eventually } from '../support/eventually.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const WINDOW_MS = 2000;
/** Garbage collection and the like may follow the start; then it has to be quiet. */
const MAX_WINDOWS = 5;

/** Sleeps within a window, over all threads; the quietest of some windows. */
async function quietestWindow(pid: number): Promise<number> {
  let fewest = Number.POSITIVE_INFINITY;
  for (let window = 0; window < MAX_WINDOWS && fewest > 0; window++) {
    const before = sleepCounts(pid);
    await sleep(WINDOW_MS);
    let sleeps = 0;
    for (const [thread, count] of sleepCounts(pid)) sleeps += count - (before.get(thread) ?? 0);
    fewest = Math.min(fewest, sleeps);
  }
  return fewest;
}

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`idleness, ${engine}`, () => {
    test('no thread wakes up while no client is connected', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, args: ['--threads=2'] });
      assert.equal(await quietestWindow(disk.server.pid), 0);
    });

    test('no thread wakes up while the client asks for nothing', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, args: ['--threads=2'] });
      const driver = await disk.connect({ numQueues: 4 });
      // Busy for a while first: polling has to come to an end.
      for (let round = 0; round < 200; round++) await driver.read(round, 8, round % 4);
      const before = sleepCounts(disk.server.pid);
      await driver.read(0, 8);
      // Whoever served it goes to sleep again, if it slept before.
      await eventually('a request is seen in the counts', () =>
        [...sleepCounts(disk.server.pid)].some(([thread, count]) => count !== before.get(thread)),
      );
      assert.equal(await quietestWindow(disk.server.pid), 0);
    });
  });
}
