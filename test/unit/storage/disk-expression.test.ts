/** How people write disks: everything that can be written is read again, and what is wrong is said. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  DISK_KINDS,
  DiskPlan,
  moduleDisk,
  nullDisk,
  openDisk,
  type DiskPlan as Plan,
  parseDisk,
  readonly,
  StorageError,
} from '../../../src/storage/index.ts';
import { parseDisk as parseKnown } from '../../../src/storage/plan/disk-expression.ts';
import { type DiskKind, writtenName } from '../../../src/storage/plan/disk-kind.ts';
import {
  count,
  decimal,
  diskBytes,
  flag,
  oneOf,
  text,
} from '../../../src/storage/plan/parameter-types.ts';
import { propertyOptions } from '../../support/property-options.ts';

const never = (): never => assert.fail('nothing is opened');

/** A kind with every type of parameter, and one for each number of disks below. */
const PARAMETERS = {
  path: { type: text('path'), summary: 'text' },
  size: { type: diskBytes, summary: 'size' },
  iopsTotal: { type: count(0, 10 ** 9), summary: 'count' },
  burst2Length: { type: decimal(0, 100), summary: 'decimal' },
  isQuick: { type: flag, summary: 'flag' },
  mode: { type: oneOf(['one', 'other']), summary: 'choice' },
} as const;
const KINDS: readonly DiskKind[] = [
  { name: 'leaf', below: 'none', primary: 'path' as never },
  { name: 'filter', below: 'one' },
  { name: 'join', below: 'some' },
].map((kind) => ({ ...kind, summary: '', parameters: PARAMETERS, open: never }) as DiskKind);
const KNOWN = { kinds: KINDS, planModule: moduleDisk };

const anyText = fc.oneof(
  fc.string({ minLength: 1 }),
  fc.string({ minLength: 1, unit: fc.constantFrom(...'a ,)(="\\\n\t.é') }),
);

const parametersOfKind = fc.record(
  {
    path: anyText,
    size: fc.integer({ min: 1, max: 2 ** 40 }).map((sectors) => sectors * 512),
    iopsTotal: fc.nat(10 ** 9),
    burst2Length: fc.integer({ min: 0, max: 1000 }).map((tenths) => tenths / 10),
    isQuick: fc.boolean(),
    mode: fc.constantFrom('one', 'other'),
  },
  { requiredKeys: [] },
);
const modulePath = fc.constantFrom('./my-disk.ts', '../a/b.mjs', '/tmp/disk.js', './x.y.cts');
const name = fc
  .stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,8}$/)
  .map((word) => (word === '' ? 'a' : word));
const names = fc.oneof(name, fc.constantFrom('constructor', 'toString', 'valueOf'));

const { plan } = fc.letrec<{ plan: Plan; leaf: Plan }>((tie) => ({
  leaf: fc.oneof(
    parametersOfKind.map((parameters) => new DiskPlan(KINDS[0], parameters)),
    fc
      .tuple(modulePath, fc.dictionary(names, fc.oneof(anyText, fc.constant(''))))
      .map(([path, parameters]) => moduleDisk(path, parameters)),
  ),
  plan: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'plan' },
    tie('leaf'),
    fc.tuple(parametersOfKind, tie('plan')).map(([parameters, below]) => {
      return new DiskPlan(KINDS[1], parameters, [below]);
    }),
    fc
      .tuple(parametersOfKind, fc.array(tie('plan'), { minLength: 1, maxLength: 3 }))
      .map(([parameters, below]) => new DiskPlan(KINDS[2], parameters, below)),
    fc
      .tuple(modulePath, fc.array(tie('plan'), { maxLength: 2 }))
      .map(([path, below]) => moduleDisk(path, { colour: 'red' }, below)),
  ),
}));

function printedValue(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  const given = String(value);
  const isBare = /^[^\s",)]+$/.test(given);
  return isBare ? given : `"${given.replace(/["\\]/g, '\\$&')}"`;
}

/** A plan as people write it. @param space - goes wherever there may be some. */
function printed(disk: Plan, space: string, isOutermost = false): string {
  const values = Object.entries(disk.parameters).map(([key, value]) => {
    const written = disk.kind.parameters === 'any' ? key : writtenName(key);
    return `${written}=${printedValue(value)}`;
  });
  const below = disk.below.map((each) => printed(each as Plan, space));
  const all = [...below, ...values];
  if (all.length === 0) return disk.kind.name;
  if (isOutermost) return [disk.kind.name, ...all].join(`${space},${space}`);
  return `${disk.kind.name}${space}(${space}${all.join(`${space},${space}`)}${space})`;
}

/** What a plan is, without functions. */
function shape({ kind, parameters, below }: Plan): unknown {
  const given = { ...parameters };
  return { kind: kind.name, parameters: given, below: below.map((each) => shape(each as Plan)) };
}

test('every plan that is written is read as what it was', () => {
  fc.assert(
    fc.property(plan, fc.constantFrom('', ' ', '\n', '\t', ' \r\n  '), (disk, space) => {
      const nested = `${space}${printed(disk, space)}${space}`;
      assert.deepEqual(shape(parseKnown(nested, KNOWN)), shape(disk), nested);
      const flat = printed(disk, space, true);
      assert.deepEqual(shape(parseKnown(flat, KNOWN)), shape(disk), flat);
    }),
    propertyOptions(500),
  );
});

test('whatever is written is read, or refused with a line', () => {
  const pieces = fc.constantFrom(
    ...['file', 'null', 'readonly', './m.js', '(', ')', ',', '=', '"', '\\', ' ', '\n', 'size=1M'],
    ...['cache=none', 'path', 'é', '\t', '.', '/', 'constructor=1', '__proto__', 'on', '1'],
  );
  const written = fc.oneof(
    fc.string(),
    fc.array(pieces, { maxLength: 12 }).map((all) => all.join('')),
  );
  fc.assert(
    fc.property(written, (disk) => {
      try {
        parseDisk(disk);
      } catch (error) {
        assert.ok(error instanceof StorageError, String(error));
        assert.equal(error.code, 'DISK_OPTION');
        assert.match(error.message, /^[^\n]+$/);
      }
    }),
    propertyOptions(2000),
  );
});

test('the examples of the reference', () => {
  assert.deepEqual(shape(parseDisk('null,size=1G')), {
    kind: 'null',
    parameters: { size: 2 ** 30 },
    below: [],
  });
  assert.deepEqual(shape(parseDisk('readonly(file(disk.img, cache=none))')), {
    kind: 'readonly',
    parameters: {},
    below: [{ kind: 'file', parameters: { path: 'disk.img', cache: 'none' }, below: [] }],
  });
  assert.deepEqual(shape(parseDisk('./my-disk.ts(file(disk.img), colour=red)')), {
    kind: './my-disk.ts',
    parameters: { colour: 'red' },
    below: [{ kind: 'file', parameters: { path: 'disk.img' }, below: [] }],
  });
  assert.deepEqual(shape(parseDisk('file,"a, b \\"c\\" \\\\ =(d).img"')), {
    kind: 'file',
    parameters: { path: 'a, b "c" \\ =(d).img' },
    below: [],
  });
  assert.equal(parseDisk('file(disk.img, read-only=on)').parameters.readOnly, true);
});

const KNOWN_KINDS = DISK_KINDS.map((kind) => kind.name).join(', ');

/** What is wrong, what is said, and where. */
const WRONG: readonly (readonly [string, string])[] = [
  ['', `disk "": unknown kind ""; known: ${KNOWN_KINDS}, and paths of modules`],
  ['disk.img', 'unknown kind "disk.img"; an image is written file(disk.img)'],
  ['readonly(disk.img)', ', at "disk.img)": unknown kind "disk.img"; an image is written file('],
  ['readonly', 'readonly: 0 disks below it: expected one disk'],
  ['readonly()', 'readonly: 0 disks below it: expected one disk'],
  ['readonly(null(1M), null(1M))', 'readonly: 2 disks below it: expected one disk'],
  ['readonly(null(1M), x=1)', ', at "x=1)": unknown parameter "x" of readonly; known: none'],
  ['file', 'file: parameter "path=<path>" is missing'],
  ['file(', ', at its end: path is "": expected a path'],
  ['file(a', ', at its end: expected ")"'],
  ['file(a))', ', at ")": expected the end'],
  ['file(a) b', ', at "b": expected the end'],
  ['file(a),b', ', at ",b": expected the end'],
  ['file(a, b)', ', at "b)": parameter "path" is given twice'],
  ['file("a)', 'at ""a)": the quotation does not end'],
  ['file("a"b)', 'at "b)": expected ")"'],
  ['file(path=)', 'at "path=)": path is "": expected a path'],
  ['file(a, cache=fast)', 'cache is "fast": expected one of writeback, none, writethrough'],
  ['file(a, locking=yes)', 'locking is "yes": expected on or off'],
  [
    'file(a, Cache=none)',
    'unknown parameter "Cache" of file; known: path, cache, locking, read-only',
  ],
  ['file(a, constructor=1)', 'unknown parameter "constructor" of file'],
  ['null(size=1M, size=2M)', 'at "size=2M)": parameter "size" is given twice'],
  ['./m.js(colour=red, colour=blue)', 'parameter "colour" is given twice'],
  ['./m.js(red)', 'at "red)": unknown kind "red"'],
  ['my-disk.js', 'unknown kind "my-disk.js"'],
  [`${'readonly('.repeat(20_000)}null(1M)`, 'disks are nested more than 100 deep'],
];

for (const [written, expected] of WRONG) {
  test(`wrong: ${written.slice(0, 40)}`, () => {
    assert.throws(
      () => parseDisk(written),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'DISK_OPTION');
        assert.ok(error.message.includes(expected), error.message);
        assert.ok(error.message.length < 500, 'it is short');
        return true;
      },
    );
  });
}

/** One of the kinds that come with vhostkit. */
function known(kindName: string): DiskKind {
  const kind = DISK_KINDS.find((each) => each.name === kindName);
  return kind ?? assert.fail(`no kind ${kindName}`);
}

test('a plan of code is checked as one that is written', async () => {
  const wrong: readonly (readonly [Plan, RegExp])[] = [
    [new DiskPlan(known('file'), { path: 5 }), /^file: path is 5: expected a path$/],
    [new DiskPlan(known('file'), {}), /^file: parameter "path=<path>" is missing$/],
    [nullDisk(100), /^null: size is 100: expected a positive multiple of 512/],
    [new DiskPlan(known('null'), { size: 512, colour: 1 }), /^null: unknown parameter "colour"/],
    [new DiskPlan(known('null'), { size: 512 }, [nullDisk(512)]), /1 disk below it: expected no/],
    [
      readonly(new DiskPlan(known('readonly'), {})),
      /^readonly: 0 disks below it: expected one disk$/,
    ],
    [readonly(undefined as never), /^disk object: it is undefined/],
  ];
  for (const [disk, message] of wrong) await assert.rejects(openDisk(disk), { message });
});
