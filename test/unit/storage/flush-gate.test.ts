/** Flushes of one thread: one fdatasync at a time, and none that succeeds after one that failed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ENTERED, type Flusher, FlushGate } from '../../../src/storage/file/flush-gate.ts';
import { Errno, PENDING } from '../../../src/sys/index.ts';

/** A queue whose flushes are pending until the test says how they end. */
class Queue implements Flusher {
  readonly started: number[] = [];
  readonly answers: (readonly [slot: number, result: number])[] = [];
  readonly #gate: FlushGate;

  constructor(gate: FlushGate) {
    this.#gate = gate;
  }

  flush(slot: number): number {
    const entered = this.#gate.enter(this, slot);
    return entered === ENTERED ? this.startFlush(slot) : entered;
  }

  startFlush(slot: number): number {
    this.started.push(slot);
    return PENDING;
  }

  /** The fdatasync that was started for a slot is done. */
  end(slot: number, result: number): void {
    const verdict = this.#gate.judge(result);
    this.onFlushed(slot, verdict);
    this.#gate.leave(verdict);
  }

  onFlushed(slot: number, result: number): void {
    this.answers.push([slot, result]);
  }
}

const OK = 0;

test('flushes that come while one is under way share the next one', () => {
  const gate = new FlushGate(new SharedArrayBuffer(4));
  const [one, other] = [new Queue(gate), new Queue(gate)];
  assert.equal(one.flush(1), PENDING);
  assert.equal(one.flush(2), PENDING);
  assert.equal(other.flush(1), PENDING);
  assert.deepEqual([one.started, other.started], [[1], []], 'one at a time');
  one.end(1, OK);
  assert.deepEqual(one.answers, [[1, OK]]);
  assert.deepEqual([one.started, other.started], [[1], [1]], 'one for both');
  // Too late for that one.
  assert.equal(one.flush(3), PENDING);
  other.end(1, OK);
  assert.deepEqual(one.answers.at(-1), [2, OK]);
  assert.deepEqual(one.started, [1, 3]);
  one.end(3, OK);
  assert.deepEqual(one.answers.at(-1), [3, OK]);
  assert.equal(one.flush(4), PENDING);
  assert.deepEqual(one.started, [1, 3, 4]);
});

test('a flush that fails makes those that wait fail, and all later ones, in all threads', () => {
  const failure = new SharedArrayBuffer(4);
  const gate = new FlushGate(failure);
  const queue = new Queue(gate);
  const elsewhere = new Queue(new FlushGate(failure));
  queue.flush(1);
  queue.flush(2);
  assert.equal(elsewhere.flush(1), PENDING);
  queue.end(1, -Errno.EIO);
  assert.deepEqual(queue.answers, [
    [1, -Errno.EIO],
    [2, -Errno.EIO],
  ]);
  assert.deepEqual(queue.started, [1]);
  assert.equal(queue.flush(3), -Errno.EIO);
  elsewhere.end(1, OK);
  assert.deepEqual(elsewhere.answers, [[1, -Errno.EIO]], 'though its own went well');
  assert.equal(elsewhere.flush(2), -Errno.EIO);
});

test('the first failure is the one that is told', async () => {
  const failure = new SharedArrayBuffer(4);
  const gate = new FlushGate(failure);
  const told = gate.failed;
  new FlushGate(failure).fail(Errno.ENOSPC);
  gate.fail(Errno.EIO);
  assert.equal(await told, Errno.ENOSPC);
  assert.equal(gate.failure, -Errno.ENOSPC);
  assert.equal(await gate.failed, Errno.ENOSPC, 'whoever asks later, too');
});
