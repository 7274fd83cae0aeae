import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertChecks, type GuestReport, ReportReader } from './guest-report.ts';

function reportOf(fields: Partial<GuestReport>): GuestReport {
  return {
    checks: [],
    facts: new Map(),
    exitStatus: 0,
    console: 'line\n'.repeat(100).concat('the last words\n'),
    accelerator: 'tcg',
    bootMs: 1,
    totalMs: 2,
    ...fields,
  };
}

test('a report is the same however it is cut into pieces', () => {
  const text =
    'up\nok mkfs\r\nnot ok fio status 1: bad  data\nfact size 42 MB\nhost stop\nok b\nexit 0\n';
  for (const size of [1, 2, 7, text.length]) {
    const reader = new ReportReader();
    const steps: string[] = [];
    for (let start = 0; start < text.length; start += size) {
      steps.push(...reader.push(text.slice(start, start + size)));
    }
    assert.deepEqual(steps, ['stop']);
    assert.ok(reader.up);
    assert.equal(reader.exitStatus, 0);
    assert.deepEqual([...reader.facts], [['size', '42 MB']]);
    assert.deepEqual(reader.checks, [
      { name: 'mkfs', ok: true, detail: '' },
      { name: 'fio', ok: false, detail: 'status 1: bad  data' },
      { name: 'b', ok: true, detail: '' },
    ]);
  }
});

test('an unknown line counts as a failed check', () => {
  const reader = new ReportReader();
  reader.push('okay mkfs\n');
  assert.deepEqual(reader.checks, [
    { name: 'report-port', ok: false, detail: 'unknown line: okay mkfs' },
  ]);
});

test('what firmware says is ignored until the guest is up, and an unknown line after that is not', () => {
  const reader = new ReportReader('firmware');
  reader.push('\x1b[2JBdsDxe: loading\r\nok it\nSetup: \x1b[01;01H');
  assert.equal(reader.up, false);
  reader.push('\nup\nok a\nBdsDxe: loading\n');
  assert.ok(reader.up);
  assert.deepEqual(reader.checks, [
    { name: 'a', ok: true, detail: '' },
    { name: 'report-port', ok: false, detail: 'unknown line: BdsDxe: loading' },
  ]);
});

test('checks are as expected, in any order', () => {
  const checks = ['b', 'a'].map((name) => ({ name, ok: true, detail: '' }));
  assertChecks(reportOf({ checks }), ['a', 'b']);
});

test('missing, unexpected, repeated and failed checks and a bad exit status are errors', () => {
  const ok = { name: 'a', ok: true, detail: '' };
  const bad = { name: 'a', ok: false, detail: 'status 1: why' };
  const fails = (fields: Partial<GuestReport>, expected: string[], message: RegExp): void => {
    assert.throws(() => assertChecks(reportOf(fields), expected), message);
  };
  fails({ checks: [] }, ['a'], /^AssertionError.*missing: a\n/);
  fails({ checks: [ok] }, [], /not expected, or reported twice: a\n/);
  fails({ checks: [ok, ok] }, ['a'], /not expected, or reported twice: a\n/);
  fails({ checks: [bad] }, ['a'], /not ok a status 1: why\nguest console:\n(.|\n)*the last words/);
  fails({ exitStatus: 2 }, [], /the script ended with 2\n/);
});
