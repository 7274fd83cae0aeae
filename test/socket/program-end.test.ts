/** A program that uses the server may end at any time: its sleeping workers do not hold it. */
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../support/ending-program.js', import.meta.url));
/** Far more than it takes; a program that hangs fails the test instead of stopping it. */
const TIMEOUT_MS = 30_000;

for (const [ending, expected] of [
  ['throw', 1],
  ['exit', 3],
] as const) {
  test(`a program with sleeping queue workers ends by ${ending}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'vhostkit-end-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const args = [PROGRAM, join(folder, 'disk.sock'), ending];
    const program = spawn(process.execPath, args, {
      stdio: 'ignore',
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    const [code] = await once(program, 'exit');
    assert.equal(code, expected);
  });
}
