/** What a disk object says of itself: what follows from its methods, and every complaint. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DiskObject, openDisk } from '../../../src/storage/index.ts';

const read = (): void => {};
const method = (): void => {};
const BASE = { sizeBytes: 65536, read };

async function infoOf(object: object, readOnly = false) {
  return (await openDisk(object as DiskObject, { readOnly })).info;
}

test('an object with a size and a read is a disk that can only be read', async () => {
  assert.deepEqual(await infoOf(BASE), {
    sizeBytes: 65536,
    readOnly: true,
    logicalBlockBytes: 512,
    physicalBlockBytes: 512,
    minIoBytes: 0,
    optimalIoBytes: 0,
    canDiscard: false,
    canWriteZeroes: false,
    writeBack: false,
  });
});

const CAPABILITIES: readonly (readonly [object, object])[] = [
  [{ write: method }, { readOnly: false, writeBack: false }],
  [
    { write: method, flush: method },
    { readOnly: false, writeBack: true },
  ],
  [
    { write: method, discard: method },
    { canDiscard: true, canWriteZeroes: false },
  ],
  [
    { write: method, writeZeroes: method },
    { canDiscard: false, canWriteZeroes: true },
  ],
  [{ logicalBlockBytes: 4096 }, { logicalBlockBytes: 4096, physicalBlockBytes: 4096 }],
  [{ physicalBlockBytes: 4096 }, { logicalBlockBytes: 512, physicalBlockBytes: 4096 }],
  [
    { minIoBytes: 8192, optimalIoBytes: 2 ** 20 },
    { minIoBytes: 8192, optimalIoBytes: 2 ** 20 },
  ],
  [{ write: undefined, flush: undefined, timeoutMs: undefined }, { readOnly: true }],
];

for (const [given, expected] of CAPABILITIES) {
  test(`with ${Object.keys(given).join(', ')}: ${JSON.stringify(expected)}`, async () => {
    const info = await infoOf({ ...BASE, ...given });
    assert.deepEqual({ ...info, ...expected }, info);
  });
}

test('methods of a class count, and those inherited', async () => {
  class Base {
    readonly sizeBytes = 1024;
    read(): void {}
    write(): void {}
  }
  class Derived extends Base {
    flush(): void {}
  }
  const info = await infoOf(new Derived());
  assert.deepEqual([info.readOnly, info.writeBack], [false, true]);
});

test('opened to read only, it can do nothing else', async () => {
  const all = { ...BASE, write: method, flush: method, discard: method, writeZeroes: method };
  const { readOnly, canDiscard, canWriteZeroes } = await infoOf(all, true);
  assert.deepEqual([readOnly, canDiscard, canWriteZeroes], [true, false, false]);
});

const without = (name: string): object => ({ ...BASE, [name]: undefined });

/** What is wrong, and what is said of it. */
const COMPLAINTS: readonly (readonly [unknown, RegExp])[] = [
  [undefined, /^disk object: it is undefined: expected an object with sizeBytes and read$/],
  [null, /it is null/],
  [1, /it is 1/],
  ['disk.img', /it is "disk.img"/],
  [class Disk {}, /it is a function: expected an object/],
  [Promise.resolve(BASE), /read is undefined/],
  [{}, /read is undefined: expected a method read\(buffer, offset\)/],
  [without('read'), /read is undefined/],
  [{ ...BASE, read: 5 }, /read is 5/],
  [without('sizeBytes'), /sizeBytes is undefined: expected a positive multiple of 512/],
  [{ ...BASE, sizeBytes: 0 }, /sizeBytes is 0/],
  [{ ...BASE, sizeBytes: -512 }, /sizeBytes is -512/],
  [{ ...BASE, sizeBytes: 513 }, /sizeBytes is 513/],
  [{ ...BASE, sizeBytes: 2 ** 60 }, /sizeBytes is 1152921504606847000/],
  [{ ...BASE, sizeBytes: '512' }, /sizeBytes is "512"/],
  [{ ...BASE, sizeBytes: 512n }, /sizeBytes is 512/],
  [{ ...BASE, sizeBytes: Object.create(null) }, /sizeBytes is an object/],
  [{ ...BASE, sizeBytes: method }, /sizeBytes is a function/],
  [{ ...BASE, write: true }, /write is true: expected a method, or nothing$/],
  [{ ...BASE, write: null }, /write is null/],
  [{ ...BASE, write: method, flush: 1 }, /flush is 1/],
  [{ ...BASE, write: method, discard: {} }, /discard is an object/],
  [{ ...BASE, write: method, writeZeroes: 'x' }, /writeZeroes is "x"/],
  [{ ...BASE, readv: 1 }, /readv is 1/],
  [{ ...BASE, close: 1 }, /close is 1/],
  [{ ...BASE, on: 1 }, /on is 1/],
  [{ ...BASE, writev: method }, /there is writev but no write$/],
  [{ ...BASE, discard: method }, /there is discard but no write$/],
  [{ ...BASE, writeZeroes: method }, /there is writeZeroes but no write$/],
  [{ ...BASE, logicalBlockBytes: 256 }, /logicalBlockBytes is 256: .*from 512 to 65536/],
  [{ ...BASE, logicalBlockBytes: 1000 }, /logicalBlockBytes is 1000/],
  [{ ...BASE, logicalBlockBytes: 2 ** 17 }, /logicalBlockBytes is 131072/],
  [{ ...BASE, logicalBlockBytes: '512' }, /logicalBlockBytes is "512"/],
  [{ ...BASE, physicalBlockBytes: 5 }, /physicalBlockBytes is 5/],
  [
    { ...BASE, logicalBlockBytes: 4096, physicalBlockBytes: 512 },
    /physicalBlockBytes is less than logicalBlockBytes \(4096\)/,
  ],
  [
    { ...BASE, sizeBytes: 4096 + 512, logicalBlockBytes: 4096 },
    /sizeBytes is 4608: expected a multiple of its blocks of 4096/,
  ],
  [{ ...BASE, minIoBytes: -1 }, /minIoBytes is -1: expected a whole number from 0/],
  [{ ...BASE, optimalIoBytes: 2 ** 33 }, /optimalIoBytes is 8589934592/],
  [{ ...BASE, maxConcurrency: 0 }, /maxConcurrency is 0: expected a whole number from 1 to 65536/],
  [{ ...BASE, maxConcurrency: 1.5 }, /maxConcurrency is 1.5/],
  [{ ...BASE, timeoutMs: 0 }, /timeoutMs is 0: expected a whole number from 1/],
  [{ ...BASE, timeoutMs: 2 ** 31 }, /timeoutMs is 2147483648/],
  [{ ...BASE, timeoutMs: Number.NaN }, /timeoutMs is NaN/],
  [{ ...BASE, honoursStable: 'yes' }, /honoursStable is "yes": expected true or false/],
  [{ ...BASE, description: 5 }, /description is 5: expected one line of text/],
  [{ ...BASE, description: 'one\ntwo' }, /description is "one\\ntwo"/],
  [
    {
      ...BASE,
      get logicalBlockBytes(): number {
        throw new Error('not yet');
      },
    },
    /it cannot be looked at: Error: not yet/,
  ],
];

for (const [object, message] of COMPLAINTS) {
  test(`refused: ${message.source}`, async () => {
    await assert.rejects(openDisk(object as DiskObject), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'DISK_OBJECT');
      assert.match(error.message, message);
      assert.match(error.message, /^.{1,200}$/, 'one line');
      return true;
    });
  });
}
