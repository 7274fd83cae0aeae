import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { isAlive } from '../support/serving-processes.ts';
import { qemuValue, spawnTied, tiedProcessRequirement } from '../support/tied-process.ts';

const skip = tiedProcessRequirement() ?? false;

test('a tied process ends with a parent that is killed', { skip }, async () => {
  const module = new URL('../support/tied-process.js', import.meta.url).href;
  const source = `import { spawnTied } from '${module}';
    console.log(spawnTied('sleep', ['600'], 'ignore').child.pid);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [printed] = await once(parent.stdout, 'data');
  const pid = Number(printed);
  assert.ok(isAlive(pid));
  await eventually('setpriv has tied it', () => {
    return readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n';
  });
  parent.kill('SIGKILL');
  await once(parent, 'close');
  await eventually('it ends', () => !isAlive(pid));
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
