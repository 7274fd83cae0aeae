/**
 * What cases do to an image that can be written: only requests for the window. That is what the
 * comparison of the rest rests on, so each generated case is looked through for others.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Action, formatAction } from '../../../fuzz/action.ts';
import { generateCase } from '../../../fuzz/generator.ts';
import { DISK_SECTORS, REGIONS, SLOTS_AT, WINDOW_START } from '../../../fuzz/geometry.ts';
import { parseNumber } from '../../../fuzz/numbers.ts';

const CASES = 2000;
const OPTIONS = { seed: 'careful', serverOptions: ['--engine=epoll'], isIsolated: false };

function isInWindowOrNowhere(sector: bigint): boolean {
  return sector >= BigInt(WINDOW_START);
}

/** Whether an address of a descriptor leads to where rings are. */
function leadsToRings(text: string): boolean {
  const offset = parseNumber(text) - BigInt(REGIONS[0].guestAddress);
  return offset >= 0n && offset < BigInt(SLOTS_AT);
}

/** The sectors an action names. */
function sectorsOf({ verb, words, values }: Action): bigint[] {
  const ranges = (values.get('ranges') ?? '').split(',').filter(Boolean);
  const flickers = verb === 'flicker' && words.includes('sector') ? ['a', 'b'] : [];
  const keys = ['request', 'header'].includes(verb) ? ['sector'] : [];
  const named = [...keys, ...flickers].flatMap((key) => values.get(key) ?? []);
  return [...named, ...ranges.map((range) => range.split(':')[0])].map(parseNumber);
}

/** The addresses an action gives descriptors. */
function addressesOf({ verb, words, values }: Action): string[] {
  const flickers = verb === 'flicker' && words.includes('address') ? ['a', 'b'] : [];
  const keys = verb === 'descriptor' ? ['address'] : [];
  return [...keys, ...flickers].flatMap((key) => values.get(key) ?? []);
}

test('no case names a sector before the window, or shows rings as requests', () => {
  let sectors = 0;
  for (let number = 0; number < CASES; number++) {
    for (const action of generateCase(OPTIONS, number).actions) {
      const text = `case ${number}: ${formatAction(action)}`;
      for (const sector of sectorsOf(action)) {
        assert.ok(isInWindowOrNowhere(sector), text);
        if (sector < BigInt(DISK_SECTORS)) sectors += 1;
      }
      for (const address of addressesOf(action)) assert.ok(!leadsToRings(address), text);
      assert.equal(action.values.get('mmapOffset') ?? '0', '0', text);
      assert.ok(action.verb !== 'poke', text);
    }
  }
  assert.ok(sectors > CASES, 'cases write to the window');
});

test('where the image cannot be written, cases name any sector', () => {
  const options = { ...OPTIONS, serverOptions: ['--read-only'] };
  const all = Array.from({ length: 200 }, (_, number) => generateCase(options, number).actions);
  assert.ok(all.flat().some((action) => !sectorsOf(action).every(isInWindowOrNowhere)));
});
