/** Warnings that somebody else causes are rationed, and what is left out is counted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RationedLogger, silentLogger } from '../../../src/sys/index.ts';

function rationed() {
  const state = { nowMs: 12_345, lines: [] as string[] };
  const note = (message: string): void => void state.lines.push(message);
  const target = { ...silentLogger, warn: note, error: note };
  const logger = new RationedLogger(target, () => state.nowMs);
  const warn = (count: number): string[] => {
    state.lines.length = 0;
    for (let index = 0; index < count; index++) logger.warn(`warning ${index}`);
    return state.lines;
  };
  return { state, logger, warn };
}

test('fifty pass at once, then one each second, which says how many did not', () => {
  const { state, warn } = rationed();
  assert.equal(warn(50).length, 50);
  assert.deepEqual(warn(1000), []);
  state.nowMs += 999;
  assert.deepEqual(warn(1), []);
  state.nowMs += 1;
  assert.deepEqual(warn(3), ['1001 more warnings, too many to be logged', 'warning 0']);
  state.nowMs += 2500;
  assert.deepEqual(warn(9), ['2 more warnings, too many to be logged', 'warning 0', 'warning 1']);
  state.nowMs += 500;
  assert.equal(warn(1).length, 2, 'half a second was left over');
  state.nowMs += 1e9;
  assert.equal(warn(100).length, 50, 'no more than at the beginning');
});

test('errors pass', () => {
  const { state, logger, warn } = rationed();
  warn(100);
  state.lines.length = 0;
  logger.error('broken');
  assert.deepEqual(state.lines, ['broken']);
});

test('what is left out is said in the end, once', () => {
  const { state, logger, warn } = rationed();
  warn(60);
  state.lines.length = 0;
  logger.sayOmitted();
  logger.sayOmitted();
  assert.deepEqual(state.lines, ['10 more warnings, too many to be logged']);
});
