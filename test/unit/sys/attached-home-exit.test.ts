/** A reactor on Node's event loop does not keep its process from ending, nor make it crash. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { EngineName } from '../../../src/sys/index.ts';
import type { WayOut } from '../../support/leaving-program.ts';
import { missingEngine } from '../../support/reactors.ts';

const PROGRAM = fileURLToPath(new URL('../../support/leaving-program.js', import.meta.url));
/** A process that has not ended by then never will. */
const DEADLINE_MS = 30_000;

async function runProgram(engine: EngineName, wayOut: WayOut): Promise<string> {
  const options = { timeout: DEADLINE_MS, killSignal: 'SIGKILL' } as const;
  // Rejects if the program is ended by a signal or with an exit code.
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [PROGRAM, engine, wayOut],
    options,
  );
  return stdout;
}

for (const engine of ['io_uring', 'epoll'] as const) {
  const skip = missingEngine(engine) ?? false;

  test(`${engine}: an unreferenced reactor lets the process end by itself`, { skip }, async () => {
    assert.equal(await runProgram(engine, 'unreference'), 'done');
  });

  test(`${engine}: process.exit does not wait for a reactor`, { skip }, async () => {
    assert.equal(await runProgram(engine, 'exit'), 'done');
  });

  test(`${engine}: a reactor closed at once leaves nothing that crashes`, { skip }, async () => {
    const runs = Array.from({ length: 4 }, () => runProgram(engine, 'close'));
    assert.deepEqual(await Promise.all(runs), ['done', 'done', 'done', 'done']);
  });
}
