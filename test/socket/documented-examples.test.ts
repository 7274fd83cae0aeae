/** The examples of the guides run as they are written. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { imageFolder } from '../support/image-folder.ts';
import { ServedDisk } from '../support/served-disk.ts';
import { filesUnder } from '../support/source-tree.ts';

const PACKAGE = fileURLToPath(new URL('../../src/', import.meta.url));
const DOCUMENTED_SOCKET = '/run/disk0.sock';
const TIMEOUT_MS = 60_000;

/** The TypeScript blocks of a document, each with the heading it stands under. */
function examplesOf(text: string): { heading: string; code: string }[] {
  const examples: { heading: string; code: string }[] = [];
  let heading = '';
  for (const [, title, code] of text.matchAll(/^#+ (.+)$|^```ts\n([\s\S]*?)^```$/gm)) {
    if (title !== undefined) heading = title;
    else examples.push({ heading, code });
  }
  return examples;
}

for (const { path, text } of filesUnder('docs/guides', '.md')) {
  suite(path, () => {
    for (const { heading, code } of examplesOf(text)) {
      test(heading, async (t) => {
        const folder = imageFolder(t);
        writeFileSync(join(folder, 'disk.img'), '');
        truncateSync(join(folder, 'disk.img'), 16 * 1024 * 1024);
        await using disk = await ServedDisk.start();
        const program = join(folder, 'example.mjs');
        const runnable = code
          .replaceAll(/'vhostkit\/(\w+)'/g, (_, layer) => `'${PACKAGE}${layer}/index.js'`)
          .replaceAll(DOCUMENTED_SOCKET, disk.socketPath);
        writeFileSync(program, runnable);
        const options = { cwd: folder, timeout: TIMEOUT_MS };
        const { stderr } = await promisify(execFile)(process.execPath, [program], options);
        assert.equal(stderr, '');
      });
    }
  });
}
