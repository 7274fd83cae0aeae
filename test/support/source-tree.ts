/** The repository's own files, for tests that are about them. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const ROOT: string = fileURLToPath(new URL('../../..', import.meta.url));

/** A file of the repository. */
export interface SourceFile {
  /** From the root, e.g. `src/sys/fd.ts`. */
  readonly path: string;
  readonly text: string;
}

/** Files under `folder` whose names end in `ending`. */
export function filesUnder(folder: string, ending: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => readSource(join(folder, name)))
    .sort((a, b) => a.path.localeCompare(b.path));
}

/** One file. */
export function readSource(path: string): SourceFile {
  return { path, text: readFileSync(join(ROOT, path), 'utf8') };
}

/** What a file imports or re-exports: package names, and paths from the root. */
export function importsOf({ path, text }: SourceFile): string[] {
  const pattern = /(?:from|import)\s*\(?\s*'([^']+)'/g;
  return [...text.matchAll(pattern)].map(([, name]) =>
    name.startsWith('.') ? normalize(join(dirname(path), name)) : name,
  );
}

/** A markdown document's links to files of the repository, as paths from the root with anchors. */
export function linksOf({ path, text }: SourceFile): { path: string; anchor: string }[] {
  const withoutCode = text.replace(/```[\s\S]*?```/g, '');
  const links = [...withoutCode.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target);
  return links
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file, anchor = ''] = target.split('#');
      const absolute = file === '' ? join(ROOT, path) : join(ROOT, dirname(path), file);
      return { path: relative(ROOT, absolute), anchor };
    });
}
