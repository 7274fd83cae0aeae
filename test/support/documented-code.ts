/** The TypeScript in documents, as files that can be compiled and run. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT, readSource } from './source-tree.ts';

const BLOCK = /^#+ (.+)$|(?:^<!-- file: (\S+) -->\n)?^```ts\n([\s\S]*?)^```$/gm;
const COMPILER = fileURLToPath(
  new URL('../../../node_modules/typescript/bin/tsc', import.meta.url),
);

/** A block of TypeScript in a document. */
export interface DocumentedCode {
  /** What it stands under. */
  readonly heading: string;
  /** The name that a comment before it gives it. */
  readonly name: string | undefined;
  readonly code: string;
}

/** The TypeScript blocks of a document. */
export function documentedCode(text: string): DocumentedCode[] {
  const blocks: DocumentedCode[] = [];
  let heading = '';
  for (const [, title, name, code] of text.matchAll(BLOCK)) {
    if (title !== undefined) heading = title;
    else blocks.push({ heading, name, code });
  }
  return blocks;
}

/** The blocks of a document that have a name, by it. */
export function documentedFiles(path: string): ReadonlyMap<string, string> {
  const blocks = documentedCode(readSource(path).text);
  return new Map(blocks.flatMap(({ name, code }) => (name === undefined ? [] : [[name, code]])));
}

/**
 * Write files to a folder as a user of the package would have them, check their types and build
 * them. Throws with the compiler's complaints.
 */
export function buildAsUser(folder: string, files: ReadonlyMap<string, string>): void {
  mkdirSync(join(folder, 'node_modules', '@types'), { recursive: true });
  symlinkSync(ROOT, join(folder, 'node_modules', 'vhostkit'));
  symlinkSync(join(ROOT, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  for (const [name, code] of files) writeFileSync(join(folder, name), code);
  const compilerOptions = {
    ...{ target: 'es2023', module: 'nodenext', strict: true, types: ['node'] },
    ...{ rewriteRelativeImportExtensions: true, erasableSyntaxOnly: true },
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  try {
    execFileSync(process.execPath, [COMPILER, '-p', folder], { encoding: 'utf8' });
  } catch (error) {
    throw new Error(`the compiler complains:\n${(error as { stdout: string }).stdout}`);
  }
}
