/** The conformance suite finds what is wrong with a disk: each of many faults, by its check. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BROKEN_FILTERS } from '../../support/broken-objects.ts';
import { type ConformanceTraits, filterConformanceChecks } from '../../support/disk-conformance.ts';
import { passingObject } from '../../support/memory-object.ts';
import { objectFilter } from '../../support/object-filter.ts';
import { setDeadline } from '../../support/within.ts';

const TRAITS: ConformanceTraits = {
  isPersistent: true,
  showsLower: true,
  discard: 'zeros-or-kept',
  ordersRequests: true,
};

suite('the conformance suite finds', () => {
  for (const { fault, foundBy, make } of BROKEN_FILTERS) {
    test(fault, async () => {
      const checks = filterConformanceChecks((lower) => objectFilter(lower, make), TRAITS);
      const check = checks.find(({ name }) => name.startsWith(foundBy));
      assert.ok(check !== undefined, `there is no check "${foundBy}"`);
      using _deadline = setDeadline(2000);
      await assert.rejects(check.run());
    });
  }

  test('nothing in a disk without faults', async () => {
    const names = new Set(BROKEN_FILTERS.map(({ foundBy }) => foundBy));
    const checks = filterConformanceChecks((lower) => objectFilter(lower, passingObject), TRAITS);
    for (const check of checks) {
      if ([...names].some((name) => check.name.startsWith(name))) await check.run();
    }
  });
});
