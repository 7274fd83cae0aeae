/**
 * Where the repository and its cache of generated files are, found from this module's own place, so
 * that it holds both for the sources and for the compiled files below `dist/`.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the nearest `package.json` above this module. */
export function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`no package.json above ${import.meta.url}`);
    folder = parent;
  }
  return folder;
}

/** The git-ignored folder for everything that guests need; it may not exist yet. */
export function guestCache(): string {
  return join(repositoryRoot(), '.cache', 'guest');
}
