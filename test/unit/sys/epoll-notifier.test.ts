/** The thread that wakes Node's event loop for the epoll engine leaves nothing behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttachedHome, createReactor } from '../../../src/sys/index.ts';
import { eventually } from '../../support/eventually.ts';
import { openDescriptors } from '../../support/open-descriptors.ts';

const TIMES = 4;

function epollDescriptors(): number {
  return openDescriptors().filter((line) => line.endsWith('anon_inode:[eventpoll]')).length;
}

test('epoll descriptors are closed with the home they were for', async () => {
  const before = epollDescriptors();
  for (let time = 0; time < TIMES; time++) {
    const { reactor } = createReactor('attached', 'epoll');
    const home = new AttachedHome(reactor);
    await new Promise<void>((resolve) => reactor.after(1, resolve));
    home.close();
    reactor[Symbol.dispose]();
  }
  await eventually(
    () => `${epollDescriptors()} epoll descriptors are open, ${before} were`,
    () => epollDescriptors() === before,
  );
  assert.equal(epollDescriptors(), before);
});
