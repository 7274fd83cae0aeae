/** The programs' log lines, as they come out of a process. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { LOG_LEVELS, type LogFormat, type LogLevel } from '../../../src/cli/cli-logger.ts';

const MODULE = new URL('../../../src/cli/cli-logger.js', import.meta.url).href;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** Log one message of each level in a process of its own, which then ends at once. */
function logAll(level: LogLevel, format: LogFormat, stderr: 'pipe' | number = 'pipe') {
  const script = `
    import { createCliLogger } from '${MODULE}';
    const logger = createCliLogger('${level}', '${format}');
    logger.debug('one'); logger.info('two "2"'); logger.warn('three'); logger.error('four');
    process.stdout.write('alive');
    process.reallyExit(0);`;
  const args = ['--input-type=module', '--eval', script];
  return spawnSync(process.execPath, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', stderr],
  });
}

test('text: time, level and message in columns', () => {
  const lines = logAll('debug', 'text').stderr.trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => line.slice(25)),
    ['debug one', 'info  two "2"', 'warn  three', 'error four'],
  );
  for (const line of lines) assert.match(line.slice(0, 24), TIME);
});

test('json: one object a line', () => {
  const lines = logAll('debug', 'json').stderr.trimEnd().split('\n');
  const objects = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    objects.map(({ msg }) => msg),
    ['one', 'two "2"', 'three', 'four'],
  );
  for (const { time } of objects) assert.match(String(time), TIME);
});

test('a level lets through what is as grave or graver', () => {
  const messages = { debug: 4, info: 3, warn: 2, error: 1 };
  for (const level of LOG_LEVELS) {
    for (const format of ['text', 'json'] as const) {
      const lines = logAll(level, format).stderr.trimEnd().split('\n');
      assert.equal(lines.length, messages[level], `${level}, ${format}`);
    }
  }
});

test('a standard error that cannot be written to does no harm', () => {
  const full = openSync('/dev/full', 'w');
  for (const format of ['text', 'json'] as const) {
    const { status, stdout } = logAll('debug', format, full);
    assert.deepEqual([status, stdout], [0, 'alive']);
  }
  closeSync(full);
});
