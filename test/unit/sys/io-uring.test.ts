/** The rings of io_uring: nothing is lost when they are full, and errors come back as numbers. */
import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createEventFd, Errno, IoUring, Mapping } from '../../../src/sys/index.ts';
import { Feature, Op } from '../../../src/sys/io-uring/constants.ts';
import { libc } from '../../../src/sys/libc.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { openDescriptors } from '../../support/open-descriptors.ts';
import { missingEngine } from '../../support/reactors.ts';
import { CompletionLog, pushNop, pushTransfer, reapUntil } from '../../support/ring-driver.ts';

const skip = missingEngine('io_uring') ?? false;

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

function sorted(tokens: readonly number[]): number[] {
  return [...tokens].sort((a, b) => a - b);
}

for (const deferTaskRun of [false, true]) {
  const mode = deferTaskRun ? ' (deferred)' : '';

  test(`more submissions than the ring has entries all complete${mode}`, { skip }, () => {
    using ring = new IoUring({ entries: 4, completionEntries: 256, deferTaskRun });
    const log = new CompletionLog();
    for (const token of upTo(100)) pushNop(ring, token);
    assert.ok(ring.hasUnsubmitted);
    reapUntil(ring, log, 100);
    assert.ok(!ring.hasUnsubmitted);
    assert.deepEqual(sorted(log.tokens), upTo(100));
  });

  test(`more completions than the ring holds arrive, each once${mode}`, { skip }, () => {
    using ring = new IoUring({ entries: 4, completionEntries: 8, deferTaskRun });
    const log = new CompletionLog();
    for (const token of upTo(300)) pushNop(ring, token);
    ring.submit();
    assert.ok(ring.hasCompletions);
    const first = ring.reap(log);
    assert.ok(first < 300, `${first} completions fitted: the ring did not overflow`);
    while (ring.hasCompletions) ring.reap(log);
    assert.deepEqual(sorted(log.tokens), upTo(300));
    assert.equal(ring.reap(log), 0);
  });
}

test('a handler may submit more than there is room for', { skip }, () => {
  using ring = new IoUring({ entries: 4, completionEntries: 8 });
  const log = new CompletionLog();
  const sink = {
    onCompletion: (low: number, high: number, result: number) => {
      log.onCompletion(low, high, result);
      // Two for every one, down a tree of 255 nodes.
      if (low < 127) for (const child of [2 * low + 1, 2 * low + 2]) pushNop(ring, child);
      ring.submit();
    },
  };
  pushNop(ring, 0);
  ring.submit();
  while (ring.hasCompletions) ring.reap(sink);
  assert.deepEqual(sorted(log.tokens), upTo(255));
});

test('a submission the kernel refuses while completions are reaped loses none', { skip }, (t) => {
  using ring = new IoUring({ entries: 8 });
  using empty = createEventFd();
  using block = Mapping.anonymous(4096);
  const log = new CompletionLog();
  const { syscall } = libc;
  let refusals = 0;
  const sink = {
    onCompletion: (low: number, high: number, result: number) => {
      log.onCompletion(low, high, result);
      if (low !== 1) return;
      pushNop(ring, 100);
      // EAGAIN is what a kernel without memory says: any call that fails so will do.
      const refuse = (): number => libc.read(empty.number, block.address, 8);
      const mock = t.mock.method(libc, 'syscall', (...args: Parameters<typeof syscall>) => {
        if (refusals > 0) return syscall(...args);
        refusals += 1;
        return refuse();
      });
      ring.submit();
      mock.mock.restore();
    },
  };
  for (const token of upTo(6)) pushNop(ring, token);
  ring.submit();
  while (ring.hasCompletions) ring.reap(sink);
  assert.equal(refusals, 1);
  assert.deepEqual(log.tokens, [0, 1, 2, 3, 4, 5, 100]);
});

test('a wait ends with a completion, or when its time is up', { skip }, () => {
  using ring = new IoUring({ entries: 4 });
  const log = new CompletionLog();
  ring.submitAndWait(1);
  assert.equal(ring.reap(log), 0);
  pushNop(ring, 5);
  ring.submitAndWait(Number.POSITIVE_INFINITY);
  assert.equal(ring.reap(log), 1);
});

test('errors come back as negative errno, next to results', { skip }, (t) => {
  const path = join(imageFolder(t), 'file');
  writeFileSync(path, 'content');
  const readOnly = openSync(path, 'r');
  using ring = new IoUring({ entries: 8 });
  using memory = Mapping.anonymous(4096);
  const log = new CompletionLog();
  const { address } = memory;
  pushTransfer(ring, Op.READ, { fd: readOnly, offset: 0 }, { address, bytes: 100 }, 1);
  pushTransfer(ring, Op.WRITE, { fd: readOnly, offset: 0 }, { address, bytes: 1 }, 2);
  pushTransfer(ring, Op.READ, { fd: 1_000_000, offset: 0 }, { address, bytes: 1 }, 3);
  pushTransfer(ring, Op.READ, { fd: readOnly, offset: 0 }, { address: 4096, bytes: 1 }, 4);
  ring.push(255, 0, -1, 0, 0, 0, 0, 0, 0, 5, 0);
  ring.push(Op.NOP, 0x80, -1, 0, 0, 0, 0, 0, 0, 6, 0);
  reapUntil(ring, log, 6);
  closeSync(readOnly);
  const expected = [7, -Errno.EBADF, -Errno.EBADF, -Errno.EFAULT, -Errno.EINVAL, -Errno.EINVAL];
  assert.deepEqual(
    [...log.results].sort((a, b) => a[0] - b[0]),
    [...expected.entries()].map(([index, result]) => [index + 1, result]),
  );
});

test('user data of 64 bits comes back as it was given', { skip }, () => {
  using ring = new IoUring({ entries: 4 });
  const seen: number[][] = [];
  ring.push(Op.NOP, 0, -1, 0, 0, 0, 0, 0, 0, -1, 0x7fffffff);
  ring.submitAndWait(Number.POSITIVE_INFINITY);
  ring.reap({ onCompletion: (low, high) => seen.push([low, high]) });
  assert.deepEqual(seen, [[-1, 0x7fffffff]]);
});

test('tells the features of the kernel, and leaves nothing open', { skip }, () => {
  const before = openDescriptors();
  {
    using ring = new IoUring({ entries: 4 });
    assert.ok(ring.features & Feature.NODROP);
    assert.ok(ring.features & Feature.EXT_ARG);
    assert.equal(openDescriptors().length, before.length + 1);
  }
  assert.deepEqual(openDescriptors(), before);
  assert.throws(() => new IoUring({ entries: 3 }), /power of two/);
});
