/** Who uses clusters, and who moves them, are kept apart. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ClusterGate } from '../../../../src/storage/qcow2/cluster-gate.ts';

/** A task that goes on until it is told to end. */
function task(): { run: () => Promise<void>; end: () => void; readonly hasBegun: boolean } {
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const state = { hasBegun: false };
  const run = (): Promise<void> => {
    state.hasBegun = true;
    return ended;
  };
  return {
    run,
    end: () => end(),
    get hasBegun() {
      return state.hasBegun;
    },
  };
}

test('clusters are moved when those who use them have left, and nobody else comes meanwhile', async () => {
  const gate = new ClusterGate();
  assert.ok(gate.tryEnter(3, 4));
  assert.ok(gate.tryEnter(4, 4));
  const mover = task();
  const moved = gate.move(4, 9, mover.run);
  await turn();
  assert.equal(mover.hasBegun, false);
  assert.equal(gate.tryEnter(9, 9), false, 'a mover waits');
  assert.ok(gate.tryEnter(3, 3), 'others are not concerned');
  gate.leave(3, 4);
  await turn();
  assert.equal(mover.hasBegun, false);
  gate.leave(4, 4);
  await turn();
  assert.equal(mover.hasBegun, true);
  let hasEntered = false;
  const entered = gate.enter(9, 10).then(() => {
    hasEntered = true;
  });
  await turn();
  assert.equal(hasEntered, false);
  mover.end();
  await moved;
  await entered;
  assert.ok(gate.tryEnter(4, 9));
});

test('movers of the same clusters come one after the other, in their order', async () => {
  const gate = new ClusterGate();
  const tasks = [task(), task(), task()];
  const ranges = [
    [0, 5],
    [5, 8],
    [7, 9],
  ] as const;
  const moved = tasks.map(({ run }, index) => {
    const [first, last] = ranges[index];
    return gate.move(first, last, run);
  });
  const begun = (): boolean[] => tasks.map(({ hasBegun }) => hasBegun);
  await turn();
  assert.deepEqual(begun(), [true, false, false]);
  tasks[0].end();
  await turn();
  assert.deepEqual(begun(), [true, true, false]);
  tasks[1].end();
  await turn();
  assert.deepEqual(begun(), [true, true, true]);
  tasks[2].end();
  await Promise.all(moved);
});

test('a mover that fails makes way', async () => {
  const gate = new ClusterGate();
  await assert.rejects(
    gate.move(0, 0, () => Promise.reject(new Error('no'))),
    /no/,
  );
  assert.ok(gate.tryEnter(0, 0));
});

test('a range of more clusters than there are counters', async () => {
  const gate = new ClusterGate();
  assert.ok(gate.tryEnter(0, 10_000_000));
  const mover = task();
  const moved = gate.move(5, 6, mover.run);
  await turn();
  assert.equal(mover.hasBegun, false);
  gate.leave(0, 10_000_000);
  await turn();
  assert.equal(mover.hasBegun, true);
  mover.end();
  await moved;
  assert.ok(gate.tryEnter(0, 10_000_000));
});
