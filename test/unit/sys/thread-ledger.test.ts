/** What a thread leaves when it is ended from outside: all of it, and nothing else, is closed. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { closeAll, duplicateFd, Fd, Mapping, ThreadLedger } from '../../../src/sys/index.ts';
import type { Kept } from '../../support/ledger-keeper.ts';
import { isMapped } from '../../support/memory-maps.ts';
import { openDescriptors } from '../../support/open-descriptors.ts';

/** What a number is open as, if it is. */
function whatIs(fd: number): string | undefined {
  return openDescriptors().find((line) => line.startsWith(`${fd} -> `));
}

/** A descriptor of that number, which is free. */
function openAs(number: number): Fd {
  const below: Fd[] = [];
  for (;;) {
    const fd = duplicateFd(0, 'test');
    if (fd.number === number) {
      closeAll(below);
      return fd;
    }
    assert.ok(fd.number < number, `${number} is not free`);
    below.push(fd);
  }
}

test('a thread that was ended leaves nothing but what it has given away', async () => {
  const ledger = new ThreadLedger();
  const file = new URL('../../support/ledger-keeper.js', import.meta.url);
  const worker = new Worker(file, { workerData: ledger.buffer });
  const [kept] = (await once(worker, 'message')) as [Kept];
  const shared = Mapping.adopt(kept.shared);
  await worker.terminate();
  assert.match(whatIs(kept.ownFd) ?? '', /memfd:own/);
  assert.ok(isMapped(kept.ownAddress));
  // What the worker has closed is another's number by now.
  using another = openAs(kept.closedFd);
  ledger.closeAll();
  assert.equal(whatIs(kept.ownFd), undefined);
  assert.ok(!isMapped(kept.ownAddress));
  using given = new Fd(kept.givenFd, 'given');
  assert.match(whatIs(given.number) ?? '', /memfd:given/);
  assert.ok(isMapped(shared.address));
  shared.close();
  assert.notEqual(whatIs(another.number), undefined);
  // Once more closes nobody else's.
  using next = openAs(kept.ownFd);
  ledger.closeAll();
  assert.notEqual(whatIs(next.number), undefined);
});
