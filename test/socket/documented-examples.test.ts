/** The examples of the guides run as they are written. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import { buildAsUser, documentedCode } from '../support/documented-code.ts';
import { imageFolder } from '../support/image-folder.ts';
import { ServedDisk } from '../support/served-disk.ts';
import { filesUnder } from '../support/source-tree.ts';

const DOCUMENTED_SOCKET = '/run/disk0.sock';
const TIMEOUT_MS = 60_000;

/** Those that need no more than is made for them here; files with names have tests of their own. */
for (const { path, text } of filesUnder('docs/guides', '.md')) {
  suite(path, () => {
    for (const { heading, name, code } of documentedCode(text)) {
      if (name !== undefined) continue;
      test(heading, async (t) => {
        const folder = imageFolder(t);
        writeFileSync(join(folder, 'disk.img'), '');
        truncateSync(join(folder, 'disk.img'), 16 * 1024 * 1024);
        await using disk = await ServedDisk.start();
        const runnable = code.replaceAll(DOCUMENTED_SOCKET, disk.socketPath);
        buildAsUser(folder, new Map([['example.ts', runnable]]));
        const options = { cwd: folder, timeout: TIMEOUT_MS };
        const { stderr } = await promisify(execFile)(process.execPath, ['example.js'], options);
        assert.equal(stderr, '');
      });
    }
  });
}
