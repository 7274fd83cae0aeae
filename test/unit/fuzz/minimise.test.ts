/** Cases that fail are made as small as they get. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Action, formatAction, parseAction } from '../../../fuzz/action.ts';
import { minimise } from '../../../fuzz/minimise.ts';

const MUCH_TIME_MS = 60_000;

function lines(actions: readonly Action[]): string[] {
  return actions.map(formatAction);
}

/** Fails while all of these lines are there, in this order. */
function needs(...needed: readonly string[]) {
  return async (actions: readonly Action[]): Promise<boolean> => {
    let found = 0;
    for (const line of lines(actions)) if (line === needed[found]) found += 1;
    return found === needed.length;
  };
}

test('only the actions that matter are left', async () => {
  const all = Array.from({ length: 100 }, (_, index) => parseAction(`kick ${index}`));
  const stillFails = needs('kick 3', 'kick 50', 'kick 51', 'kick 99');
  const left = await minimise(all, stillFails, MUCH_TIME_MS);
  assert.deepEqual(lines(left), ['kick 3', 'kick 50', 'kick 51', 'kick 99']);
});

test('words and values that do not matter go, and repetitions become few', async () => {
  const all = [parseAction('request indirect quiet type=1 sector=5 times=100 queue=2')];
  const stillFails = async ([only]: readonly Action[]): Promise<boolean> =>
    only.words.includes('quiet') &&
    only.values.get('type') === '1' &&
    Number(only.values.get('times') ?? 1) >= 7;
  const left = await minimise(all, stillFails, MUCH_TIME_MS);
  assert.deepEqual(lines(left), ['request quiet type=1 times=7']);
});

test('what is there when the time is up still fails', async () => {
  const all = Array.from({ length: 64 }, (_, index) => parseAction(`kick ${index}`));
  let runs = 0;
  const stillFails = async (actions: readonly Action[]): Promise<boolean> => {
    runs += 1;
    return needs('kick 17')(actions);
  };
  const left = await minimise(all, stillFails, 0);
  assert.ok(runs < 3);
  assert.ok(lines(left).includes('kick 17'));
});
