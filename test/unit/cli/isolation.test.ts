/** What a supervisor makes of processes that end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lossOf } from '../../../src/cli/isolation/process-end.ts';
import { RestartPace } from '../../../src/cli/isolation/restart-pace.ts';

test('an exit code of 0 is no loss, everything else is, and says what it means', () => {
  assert.equal(lossOf({ code: 0, signal: null }), undefined);
  assert.match(lossOf({ code: 1, signal: null }) ?? '', /exit code 1, for the reason above/);
  assert.match(lossOf({ code: null, signal: 'SIGBUS' }) ?? '', /SIGBUS: .* file smaller/);
  assert.match(lossOf({ code: null, signal: 'SIGKILL' }) ?? '', /SIGKILL: .* memory ran out/);
  assert.equal(lossOf({ code: null, signal: 'SIGPIPE' }), 'SIGPIPE');
});

test('what fails again and again is tried later and later, up to a second', () => {
  const pace = new RestartPace();
  const delays = Array.from({ length: 8 }, () => pace.failed());
  assert.deepEqual(delays, [0, 100, 200, 400, 800, 1000, 1000, 1000]);
  pace.succeeded();
  assert.equal(pace.failed(), 0);
});
