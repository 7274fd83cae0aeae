/** Disks that modules export, as the program has them: loaded, explained, refused, not confined. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { suite, test } from 'node:test';
import { openDisk, parseDisk } from '../../src/storage/index.ts';
import { runCli } from '../support/cli-run.ts';
import { imageFolder } from '../support/image-folder.ts';
import { readBytes, withProgramDisk } from '../support/program-disk.ts';
import { patternBytes } from '../support/request-bytes.ts';

const BYTES = 65536;
const PROGRAM = 'vhost-user-blk';

/** A module that makes a disk of one colour, or one over the disk below. */
const MODULE = `
export default async (parameters, below) => {
  const colour = (parameters.colour ?? 'black').charCodeAt(0);
  if (parameters.fault) throw new Error(parameters.fault);
  return {
    sizeBytes: below?.currentSizeBytes() ?? ${BYTES},
    description: JSON.stringify(parameters),
    async read(buffer, offset) {
      if (below) await below.read(buffer, offset);
      else buffer.fill(colour);
    },
    write: (buffer, offset) => below?.write(buffer, offset),
  };
};
`;

/** A folder with a module, and an image. */
function place(t: { after(clean: () => void): void }) {
  const folder = imageFolder(t);
  const write = (name: string, text: string | Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const module = write('my-disk.mjs', MODULE);
  const image = write('disk.img', patternBytes(BYTES));
  return { folder, module, image, write };
}

/** What the program says of a disk that it does not serve. */
function refused(folder: string, disk: string, ...args: readonly string[]): string {
  const run = runCli(PROGRAM, ['-s', join(folder, 'never.sock'), '--disk', disk, ...args]);
  assert.notEqual(run.code, 0);
  assert.doesNotMatch(run.stderr, /\n +at /, 'no stack');
  assert.match(run.stderr, /^vhost-user-blk: [^\n]+\n(?:.*--help.*\n)?$/);
  return run.stderr;
}

function explained(disk: string): string[] {
  const run = runCli(PROGRAM, ['-s', '/tmp/never.sock', '--disk', disk, '--explain']);
  assert.deepEqual([run.code, run.stderr], [0, ''], run.stderr);
  return run.stdout.trimEnd().split('\n');
}

suite('the disk of a module', () => {
  test('takes parameters, from a path relative to the working directory', async (t) => {
    const { folder, module } = place(t);
    const path = relative(process.cwd(), module);
    const disk = `${path.startsWith('.') ? path : `./${path}`},colour="grün, (a=b)"`;
    const end = await withProgramDisk(folder, disk, async (queue) => {
      assert.deepEqual(await readBytes(queue, 4096, 512), new Uint8Array(512).fill(0x67));
    });
    assert.match(end.stderr, /\{"colour":"grün, \(a=b\)"\}/);
  });

  test('is over other disks', async (t) => {
    const { folder, module, image } = place(t);
    const data = patternBytes(4096, 9);
    const disk = `${module}(${module}(file(${image})), colour=red)`;
    await withProgramDisk(folder, disk, async (queue) => {
      assert.deepEqual(await readBytes(queue, 512, 512), patternBytes(BYTES).slice(512, 1024));
      await queue.write(8192, data);
    });
    assert.deepEqual(new Uint8Array(readFileSync(image).subarray(8192, 12288)), data);
  });

  test('may be an object, which takes nothing', async (t) => {
    const { folder, write } = place(t);
    const path = write('object.js', 'exports.sizeBytes = 512; exports.read = () => {};');
    await withProgramDisk(folder, path, (queue) => queue.read(0, new Uint8Array(512)), true);
    assert.match(refused(folder, `${path},colour=red`), /takes no parameter "colour"/);
    assert.match(refused(folder, `${path}(null(1M))`), /takes no disk below/);
  });

  test('is TypeScript where Node.js loads that, or it is said what to do', async (t) => {
    const { folder, write } = place(t);
    const text = `
      const sizeBytes: number = 512;
      export default { sizeBytes, read(buffer: Uint8Array): void { buffer.fill(7); } };
    `;
    const path = write('my-disk.mts', text);
    const [major, minor] = process.versions.node.split('.').map(Number);
    if (major > 22 || (major === 22 && minor >= 18)) {
      await withProgramDisk(
        folder,
        path,
        async (queue) => assert.equal((await readBytes(queue, 0, 512))[511], 7),
        true,
      );
      return;
    }
    const said = refused(folder, path);
    assert.match(
      said,
      /does not load TypeScript: build it first, or use Node\.js 22\.18 or newer$/m,
    );
  });

  const wrong: readonly (readonly [string, string, RegExp])[] = [
    [
      'no default export',
      'export const disk = 1;',
      /has no default export: expected a disk object/,
    ],
    ['a number', 'export default 5;', /it is 5: expected an object/],
    ['a class', 'export default class Disk { read() {} }', /its function failed: TypeError/],
    ['a function of nothing', 'export default () => {};', /it is undefined/],
    [
      'a syntax error',
      'export default {;',
      /cannot be loaded: Unexpected token .*; "node --check .*wrong\.mjs" says where$/m,
    ],
    ['a missing import', 'import "./gone.mjs";', /cannot be loaded: Cannot find module .*gone/],
    ['an error', 'throw new Error("one\\ntwo");', /cannot be loaded: one two/],
    ['an error that is none', 'throw null;', /cannot be loaded: null/],
    ['a failing function', 'export default () => { throw new Error("a\\nb"); };', /failed: .*a b/],
  ];
  for (const [name, text, expected] of wrong) {
    test(`is refused with a line: ${name}`, (t) => {
      const { folder, write } = place(t);
      assert.match(refused(folder, write('wrong.mjs', text)), expected);
    });
  }

  test('is refused with what to do where package.json says that it is CommonJS', (t) => {
    const { folder, write } = place(t);
    write('package.json', '{ "type": "commonjs" }');
    const texts = [
      'export default { sizeBytes: 512, read() {} };',
      'import "node:fs";',
      'const { url } = import.meta;',
    ];
    for (const text of texts) {
      const args = ['-s', join(folder, 'never.sock'), '--disk', write('disk.js', text)];
      const { code, stderr } = runCli(PROGRAM, args);
      assert.equal(code, 1);
      // Before that Node.js may warn of the same.
      assert.match(
        stderr,
        /^vhost-user-blk: .*disk\.js: Node\.js takes it for CommonJS: put "type": "module" into .*\n$/m,
      );
    }
  });

  test('is refused with its own error, whatever it has begun', async (t) => {
    const { write, image } = place(t);
    const text =
      'export default (_, image) => { image.read(new Uint8Array(512), 0); throw new Error("why"); };';
    const plan = parseDisk(`${write('begun.mjs', text)}(delay(file(${image}), read=50))`);
    for (let round = 0; round < 2; round++) {
      await assert.rejects(openDisk(plan), { code: 'DISK_OBJECT', message: /failed: Error: why/ });
    }
  });

  test('is refused where there is none', (t) => {
    const { folder } = place(t);
    assert.match(refused(folder, './gone.js'), /module \.\/gone\.js: there is no such file/);
    assert.match(refused(folder, folder), /unknown kind "\/.*"; an image is written file\(/);
  });
});

suite('--explain', () => {
  test('says what is served by queue threads', (t) => {
    const { image } = place(t);
    const lines = explained(`readonly(file(${image}, cache=writethrough))`);
    assert.match(
      lines[0],
      /^served by queue threads, without promises: nothing in the chain needs/,
    );
    assert.match(lines[1], /^ {2}readonly \(no promises\): refuses writes$/);
    assert.match(lines[2], /^ {4}file \(no promises\): .*disk\.img/);
    assert.equal(lines.length, 3);
  });

  test('says what needs an event loop, and why', (t) => {
    const { image, module } = place(t);
    const lines = explained(`readonly(${module}(file(${image}), null(1M)))`);
    const because = `${module}: its methods may return promises`;
    assert.equal(lines[0], `served on the event loop of one thread, because of ${because}`);
    assert.match(lines[1], /^ {2}readonly \(event loop\): /);
    assert.ok(lines[2].startsWith(`    ${module} (event loop): {}`), lines[2]);
    assert.match(lines[3], /^ {6}file \(no promises\): /);
    assert.match(lines[4], /^ {6}null \(no promises\): /);
  });

  test('opens the disk: what is wrong with it is said', (t) => {
    const { folder } = place(t);
    assert.match(refused(folder, 'readonly(file(/gone.img))', '--explain'), /\/gone\.img/);
  });
});

suite('not for disks made of others', () => {
  for (const option of ['--isolate', '--take-over']) {
    test(option, (t) => {
      const { folder, module, image } = place(t);
      const expected = new RegExp(`${option} is for images.* and null disks`);
      for (const disk of [module, `readonly(file(${image}))`]) {
        assert.match(refused(folder, disk, option), expected);
      }
    });
  }
});

suite('the sandbox', () => {
  test('is off for a module, and it is said', async (t) => {
    const { folder, module } = place(t);
    const end = await withProgramDisk(folder, module, async (queue, server) => {
      await queue.read(0, new Uint8Array(512));
      const status = readFileSync(`/proc/${server.pid}/status`, 'utf8');
      assert.match(status, /^Seccomp:\t0$/m);
    });
    assert.match(end.stderr, /warn {2}sandbox: the methods of a module may need anything/);
  });

  test('is refused for a module that is to be confined', (t) => {
    const { folder, module, image } = place(t);
    for (const disk of [module, `readonly(${module}(file(${image})))`]) {
      const said = refused(folder, disk, '--sandbox=on');
      assert.match(said, /--sandbox=on: the methods of a module may need anything/);
    }
  });

  test('is on for what comes with vhostkit', async (t) => {
    const { folder, image } = place(t);
    const end = await withProgramDisk(
      folder,
      `readonly(file(${image}))`,
      (queue) => queue.read(0, new Uint8Array(512)),
      true,
    );
    assert.match(end.stderr, /sandbox: /);
    assert.doesNotMatch(end.stderr, /may need anything/);
  });
});
