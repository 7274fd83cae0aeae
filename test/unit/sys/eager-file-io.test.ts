/** I/O that is handed to the kernel as soon as it is asked for. */
import assert from 'node:assert/strict';
import { readSync } from 'node:fs';
import { test } from 'node:test';
import { createReactor, createSocketPair, IovecTable, Mapping } from '../../../src/sys/index.ts';
import { missingEngine } from '../../support/reactors.ts';

const SLOTS = 100;
/** As many are handed over at once. */
const EAGER = 64;

const skip = missingEngine('io_uring') ?? false;

test('few are started at once, many wait for the turn', { skip }, () => {
  // A socket takes a few bytes within the submission.
  const [near, far] = createSocketPair();
  using memory = Mapping.anonymous(4096);
  using table = new IovecTable(SLOTS);
  const { reactor } = createReactor('blocking', 'io_uring');
  const results: number[] = [];
  const handler = { onFileIo: (_slot: number, result: number) => results.push(result) };
  const io = reactor.fileIo(near.number, table, handler, { isEager: true });
  const write = (slot: number): void => {
    table.clear(slot);
    table.push(slot, memory.address | 0, (memory.address / 2 ** 32) | 0, 1);
    io.writev(slot, 0, 0, 0);
  };
  const received = (): number => readSync(far.number, new Uint8Array(1000));
  for (let slot = 0; slot < SLOTS; slot++) write(slot);
  assert.equal(received(), EAGER);
  assert.deepEqual(results, [], 'nobody is told within the call');
  reactor.submit();
  assert.equal(received(), SLOTS - EAGER);
  assert.deepEqual(results, new Array(SLOTS).fill(1));
  write(0);
  assert.equal(received(), 1, 'what has ended makes room');
  reactor.submit();
  io.close();
  reactor[Symbol.dispose]();
  near.close();
  far.close();
});
