/** What users match on or type is documented, and documents point at things that exist. */
import { strict as assert } from 'node:assert';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createCommand as createBench } from '../../src/cli/blkio-bench-options.ts';
import { createCommand as createCopy } from '../../src/cli/blkio-copy-options.ts';
import { createCommand as createInfo } from '../../src/cli/blkio-info-options.ts';
import { createCommand } from '../../src/cli/vhost-user-blk-options.ts';
import { createCommand as createDiskTool } from '../../src/cli/vhostkit-disk-options.ts';
import { DISK_KINDS } from '../../src/storage/index.ts';
import { writtenName } from '../../src/storage/plan/disk-kind.ts';
import { filesUnder, linksOf, ROOT, readSource } from '../support/source-tree.ts';

const DOCUMENTS = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'].map(readSource),
  ...filesUnder('docs', '.md'),
];

/** The codes of a file's error classes, by the union type they are declared in. */
function errorCodes(text: string): string[] {
  return [...text.matchAll(/^export type \w+Code =([^;]+);/gm)].flatMap(([, union]) =>
    [...union.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => code),
  );
}

test('every error code is in the reference', () => {
  const codes = filesUnder('src', 'errors.ts').flatMap(({ text }) => errorCodes(text));
  assert(codes.length > 20, 'the search for codes finds too few');
  const reference = readSource('docs/reference/errors.md').text;
  const documented = [...reference.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code]) => code);
  assert.deepEqual(documented.sort(), codes.sort());
});

test('every error code of the client library is named by a test of it', () => {
  const codes = errorCodes(readSource('src/blkio/errors.ts').text);
  assert(codes.length > 15, 'the search for codes finds too few');
  const tests = ['unit', 'socket', 'support']
    .flatMap((folder) => filesUnder(`test/${folder}`, '.ts'))
    .filter(({ text }) => text.includes('src/blkio/index'));
  const isNamed = (code: string): boolean => tests.some(({ text }) => text.includes(`'${code}'`));
  const missing = codes.filter((code) => !isNamed(code));
  assert.deepEqual(missing, []);
});

test('every option of vhost-user-blk is in the README, and no other', () => {
  const options = createCommand('0').options.map(({ long }) => long ?? '');
  const readme = readSource('README.md').text;
  const [, section = ''] = /^### Options$([\s\S]*?)^#/m.exec(readme) ?? [];
  const documented = [...section.matchAll(/^\| .*?`(--[a-z-]+)/gm)].map(([, name]) => name);
  assert.deepEqual(documented.sort(), [...options, '--help'].sort());
});

test('every kind of disk and every parameter is in the reference, and no other', () => {
  const { text } = readSource('docs/reference/disks.md');
  const sections = [...text.matchAll(/^### ([a-z0-9-]+)\n([\s\S]*?)(?=^#|(?![\s\S]))/gm)];
  const documented = sections.map(([, name, section]) => {
    const parameters = [...section.matchAll(/^\| `([a-z0-9-]+)`/gm)].map(
      ([, parameter]) => parameter,
    );
    return [name, parameters.sort()];
  });
  const known = DISK_KINDS.map(({ name, parameters }) => [
    name,
    Object.keys(parameters).map(writtenName).sort(),
  ]);
  assert.deepEqual(documented.sort(), known.sort());
});

for (const create of [
  createInfo,
  createBench,
  createCopy,
  (text: string) => createDiskTool(text),
]) {
  const command = create('0');
  test(`every option of ${command.name()} is in its reference, and no other`, () => {
    const options = [command, ...command.commands].flatMap((each) =>
      each.options.map(({ long }) => long ?? ''),
    );
    const { text } = readSource(`docs/reference/${command.name()}.md`);
    const documented = [...text.matchAll(/^\| .*?`(--[a-z-]+)/gm)].map(([, name]) => name);
    assert.deepEqual(documented.sort(), [...options, '--help'].sort());
  });
}

test('every link of a document leads somewhere', () => {
  const broken: string[] = [];
  for (const document of DOCUMENTS) {
    for (const { path, anchor } of linksOf(document)) {
      const exists = existsSync(join(ROOT, path));
      const hasAnchor = anchor === '' || !exists || headings(path).includes(anchor);
      if (!exists || !hasAnchor) broken.push(`${document.path}: ${path}#${anchor}`);
    }
  }
  assert.deepEqual(broken, []);
});

/** Anchors of a document's headings, as GitHub makes them. */
function headings(path: string): string[] {
  if (!path.endsWith('.md')) return [];
  return [...readSource(path).text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replace(/ /g, '-'),
  );
}

test('the change log has a place for what comes next', () => {
  assert.match(readSource('CHANGELOG.md').text, /^## \[?Unreleased\]?/m);
});

test('everything the package exports and runs is there', () => {
  const manifest = JSON.parse(readSource('package.json').text) as {
    bin: Record<string, string>;
    exports: Record<string, string>;
    files: string[];
  };
  const paths = [...Object.values(manifest.bin), ...Object.values(manifest.exports)];
  const missing = [...paths, ...manifest.files].filter((path) => !existsSync(join(ROOT, path)));
  assert.deepEqual(missing, []);
});
