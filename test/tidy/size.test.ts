/** Sizes of files and functions, and words that have no business in the code. */
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { filesUnder, type SourceFile } from '../support/source-tree.ts';

const MAX_FILE_LINES = 400;
const MAX_FUNCTION_LINES = 70;
const SOURCES = ['src', 'test', 'bench', 'tools', 'fuzz'].flatMap((folder) =>
  filesUnder(folder, '.ts'),
);

/**
 * Longest functions of a file: the formatter closes a block at the indentation it began with. A
 * suite is no function but a list of tests.
 */
function longFunctions({ path, text }: SourceFile): string[] {
  const lines = text.split('\n');
  const found: string[] = [];
  lines.forEach((line, start) => {
    const isBlock = /\)(: [^=]+)? \{$|=> \{$/.test(line);
    const isStatement = /^\s*(\} )?(if|for|while|switch|catch|else|describe|suite|\w+Suite)\b/.test(
      line,
    );
    const isSuite = /^export function \w*[sS]uite\(/.test(line);
    if (!isBlock || isStatement || isSuite) return;
    const indentation = /^\s*/.exec(line)?.[0] ?? '';
    const end = lines.findIndex((other, at) => at > start && other.startsWith(`${indentation}}`));
    const length = end - start + 1;
    if (length > MAX_FUNCTION_LINES) found.push(`${path}:${start + 1}: ${length} lines`);
  });
  return found;
}

test('a file is short', () => {
  const long = SOURCES.filter(({ text }) => text.split('\n').length > MAX_FILE_LINES);
  assert.deepEqual(
    long.map(({ path }) => path),
    [],
  );
});

test('a function is short', () => {
  assert.deepEqual(SOURCES.flatMap(longFunctions), []);
});

test('a function that is too long is found', () => {
  const body = '    doSomething();\n'.repeat(MAX_FUNCTION_LINES);
  const text = `class Example {\n  method(): void {\n${body}  }\n}\n`;
  assert.deepEqual(longFunctions({ path: 'example.ts', text }), [
    `example.ts:2: ${MAX_FUNCTION_LINES + 2} lines`,
  ]);
});

test('a file is named after a concept', () => {
  const vague = /(^|[/-])(utils?|helpers?|common|misc)([./-])/;
  assert.deepEqual(
    SOURCES.map(({ path }) => path).filter((path) => vague.test(path)),
    [],
  );
});

test('nothing is left undone or unchecked', () => {
  const words = new RegExp(['TO', 'DO|FIX', 'ME|@ts-', 'ignore|@ts-', 'nocheck'].join(''));
  const wrong = SOURCES.filter(({ text }) => words.test(text)).map(({ path }) => path);
  assert.deepEqual(wrong, []);
});
