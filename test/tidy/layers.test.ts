/** The layers of docs/internals/architecture.md: each imports only those before it. */
import { strict as assert } from 'node:assert';
import { basename } from 'node:path';
import { test } from 'node:test';
import { filesUnder, importsOf, readSource } from '../support/source-tree.ts';

const LAYERS = [
  'sys',
  'memory',
  'virtqueue',
  'vhost-user',
  'storage',
  'virtio-blk',
  'exports',
  'blkio',
  'daemon',
  'cli',
  'testing',
];
/** Layers that programs and tests use, and that no layer may use. */
const NOT_IMPORTED = new Set(['cli', 'testing']);
const SOURCES = filesUnder('src', '.ts');

/** What others may import of a layer. */
const ENTRIES = new Set(
  Object.values<string>(JSON.parse(readSource('package.json').text).exports).map((path) =>
    path.replace('./dist/', '').replace(/\.js$/, '.ts'),
  ),
);

function layerOf(path: string): string | undefined {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

test('every folder of src is a layer', () => {
  for (const { path } of SOURCES) {
    const layer = layerOf(path);
    if (layer !== undefined) assert(LAYERS.includes(layer), `${path}: no layer`);
  }
});

test('a layer imports only layers before it, by their entries', () => {
  const wrong: string[] = [];
  for (const file of SOURCES) {
    const own = layerOf(file.path);
    for (const imported of importsOf(file)) {
      const layer = layerOf(imported);
      if (layer === undefined || layer === own) continue;
      const isBefore = own === undefined || LAYERS.indexOf(layer) < LAYERS.indexOf(own);
      if (!ENTRIES.has(imported) || !isBefore || NOT_IMPORTED.has(layer)) {
        wrong.push(`${file.path} imports ${imported}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

test('koffi is used in src/sys only', () => {
  const others = ['bench', 'tools', 'fuzz'].flatMap((folder) => filesUnder(folder, '.ts'));
  const files = [...SOURCES, ...others];
  const users = files.filter(({ text }) => /'koffi'/.test(text)).map(({ path }) => path);
  assert.deepEqual(
    users.filter((path) => !path.startsWith('src/sys/')),
    [],
  );
  assert(users.length > 0, 'the search finds nothing, not even where koffi is used');
});

test('every file of src is used', () => {
  const used = new Set(SOURCES.flatMap(importsOf));
  const manifest = readSource('package.json').text;
  const isUsed = (path: string): boolean => {
    const compiled = path.replace(/\.ts$/, '.js');
    // Workers are started by the name of the compiled file.
    const isWorker = SOURCES.some(({ text }) => text.includes(`'./${basename(compiled)}'`));
    return used.has(path) || manifest.includes(`dist/${compiled}`) || isWorker;
  };
  const unused = SOURCES.map(({ path }) => path).filter((path) => !isUsed(path));
  assert.deepEqual(unused, []);
});
