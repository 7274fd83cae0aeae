import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { qemuValue, spawnTied, tiedProcessRequirement } from '../support/tied-process.ts';

const skip = tiedProcessRequirement() ?? false;

/** True while a process runs; one that nobody has waited for yet does not. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('a tied process ends with a parent that is killed', { skip }, async () => {
  const module = new URL('../support/tied-process.js', import.meta.url).href;
  const source = `import { spawnTied } from '${module}';
    console.log(spawnTied('sleep', ['600'], 'ignore').child.pid);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [printed] = await once(parent.stdout, 'data');
  const pid = Number(printed);
  assert.ok(isRunning(pid));
  // Killed too early, setpriv might not have tied it yet.
  await sleep(200);
  parent.kill('SIGKILL');
  await once(parent, 'close');
  for (let tries = 0; isRunning(pid) && tries < 100; tries++) await sleep(20);
  assert.ok(!isRunning(pid));
});

test('the end of a tied process tells status and signal', { skip }, async () => {
  assert.deepEqual(await spawnTied('sh', ['-c', 'exit 3'], 'ignore').ended, {
    code: 3,
    signal: null,
  });
  const { child, ended } = spawnTied('sleep', ['600'], 'ignore');
  child.kill('SIGKILL');
  assert.deepEqual(await ended, { code: null, signal: 'SIGKILL' });
});

test('commas in QEMU values are doubled', () => {
  assert.equal(qemuValue('/a,b,,c'), '/a,,b,,,,c');
});
