/** Queues with a completion descriptor where no more descriptors can be opened. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ShortageOutcome } from '../../support/completion-fd-shortage.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { missingEngine } from '../../support/reactors.ts';

const PROGRAM = fileURLToPath(new URL('../../support/completion-fd-shortage.js', import.meta.url));
const COMMAND = 'ulimit -n 160 && exec "$0" "$@"';

for (const engine of ['io_uring', 'epoll'] as const) {
  const skip = missingEngine(engine) ?? false;
  test(`what is short leaves nothing open, and the queue for later: ${engine}`, { skip }, (t) => {
    const path = join(imageFolder(t), 'image');
    writeFileSync(path, new Uint8Array(4096));
    const output = execFileSync('sh', ['-c', COMMAND, process.execPath, PROGRAM, path], {
      encoding: 'utf8',
      env: { ...process.env, VHOSTKIT_ENGINE: engine },
    });
    const { outcomes, leaked } = JSON.parse(output) as ShortageOutcome;
    assert.deepEqual(leaked, []);
    const enough = outcomes.indexOf('open');
    assert.ok(enough > 2, outcomes.join());
    assert.deepEqual(new Set(outcomes.slice(enough)), new Set(['open']));
    assert.deepEqual(new Set(outcomes.slice(0, enough)), new Set(['EIO']));
  });
}
