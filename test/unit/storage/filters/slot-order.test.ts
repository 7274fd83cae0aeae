/** Slots that wait, by arrival and by deadline, against plain lists; and numbers that look random. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RandomNumbers } from '../../../../src/storage/filters/random-numbers.ts';
import { SlotDeadlines } from '../../../../src/storage/filters/slot-deadlines.ts';
import { SlotQueue } from '../../../../src/storage/filters/slot-queue.ts';
import { propertyOptions } from '../../../support/property-options.ts';

const SLOTS = 20;
/** Deadlines of slots to add; `null`: take one off. */
const steps = fc.array(fc.option(fc.nat(30), { freq: 3 }), { maxLength: 100 });

/** Run steps on something and on a list of what is in it; `take` takes one off both. */
function run(
  all: readonly (number | null)[],
  add: (slot: number, deadline: number) => void,
  take: () => number,
): void {
  const free = Array.from({ length: SLOTS }, (_, slot) => slot);
  for (const deadline of all) {
    if (deadline === null) {
      if (free.length < SLOTS) free.push(take());
      continue;
    }
    const slot = free.shift();
    if (slot !== undefined) add(slot, deadline);
  }
}

test('a queue gives slots in the order they came in', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const queue = new SlotQueue(SLOTS);
      const model: number[] = [];
      const add = (slot: number): void => {
        queue.push(slot);
        model.push(slot);
      };
      run(all, add, () => {
        assert.equal(queue.first, model[0]);
        const slot = queue.shift();
        assert.equal(slot, model.shift());
        assert.equal(queue.isEmpty, model.length === 0);
        return slot;
      });
    }),
    propertyOptions(300),
  );
});

test('deadlines come earliest first', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const deadlines = new SlotDeadlines(SLOTS);
      const model = new Map<number, number>();
      const add = (slot: number, deadline: number): void => {
        deadlines.deadlineMs[slot] = deadline;
        deadlines.add(slot);
        model.set(slot, deadline);
        assert.equal(deadlines.firstMs, Math.min(...model.values()));
      };
      run(all, add, () => {
        const earliest = Math.min(...model.values());
        const slot = deadlines.shift();
        assert.equal(model.get(slot), earliest);
        model.delete(slot);
        assert.equal(deadlines.isEmpty, model.size === 0);
        assert.equal(deadlines.firstMs, Math.min(...model.values()));
        return slot;
      });
    }),
    propertyOptions(300),
  );
});

test('random numbers come again with the seed, and are spread evenly', () => {
  const first = (seed: number, stream: number): number[] => {
    const random = new RandomNumbers(seed, stream);
    return Array.from({ length: 10_000 }, () => random.next());
  };
  assert.deepEqual(first(1, 0), first(1, 0));
  for (const [seed, stream] of [
    [0, 0],
    [1, 0],
    [1, 1],
    [2 ** 31 - 1, 7],
  ]) {
    const numbers = first(seed, stream);
    assert.ok(numbers.every((number) => number >= 0 && number < 1));
    const tenths = new Array(10).fill(0);
    for (const number of numbers) tenths[Math.floor(number * 10)] += 1;
    assert.ok(
      tenths.every((count) => Math.abs(count - 1000) < 200),
      `${seed}: ${tenths}`,
    );
  }
  assert.equal(new Set([first(1, 0)[0], first(1, 1)[0], first(2, 0)[0]]).size, 3);
});
