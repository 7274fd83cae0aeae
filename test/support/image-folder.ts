/** A folder for one test's files, on the file system of the temporary folder. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a test context offers for clean-up. */
export interface CleanUp {
  after(clean: () => void): void;
}

/** A new folder, removed when the test ends. */
export function imageFolder(t: CleanUp, parent: string = tmpdir()): string {
  const folder = mkdtempSync(join(parent, 'vhostkit-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
