/** What is wrong with a qcow2 image is said in one line, and the image is left as it was. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { file, openDisk, qcow2, StorageError } from '../../../../src/storage/index.ts';
import { type CreateQcow2Options, createQcow2 } from '../../../../src/storage/tools.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { openDescriptors } from '../../../support/open-descriptors.ts';

const SIZE_BYTES = 2 ** 20;

interface Wrong {
  readonly name: string;
  readonly message: string;
  readonly options?: Partial<CreateQcow2Options>;
  /** Opened to read only, it is a disk. */
  readonly isReadable?: boolean;
  change(bytes: Buffer): void;
}

const CASES: readonly Wrong[] = [
  {
    name: 'no image',
    message: 'not a qcow2 image; a raw one is written file(...)',
    change: (bytes) => bytes.fill(0, 0, 4),
  },
  {
    name: 'version 4',
    message: 'qcow2 version 4: versions 2 and 3 are supported',
    change: (bytes) => bytes.writeUInt32BE(4, 4),
  },
  {
    name: 'clusters of 256 bytes',
    message: 'cluster_bits is 8: expected 9 to 21',
    change: (bytes) => bytes.writeUInt32BE(8, 20),
  },
  {
    name: 'encryption',
    message: 'it is encrypted (LUKS), which is not supported; decrypt it by qemu-img convert',
    change: (bytes) => bytes.writeUInt32BE(2, 32),
  },
  {
    name: 'no size',
    message: 'size is 0 bytes: expected some, and less than 2^53',
    change: (bytes) => bytes.writeBigUInt64BE(0n, 24),
  },
  {
    name: 'a size that is too large',
    message: 'size is 18446744073709552000 bytes: expected some, and less than 2^53',
    change: (bytes) => bytes.writeBigUInt64BE(2n ** 64n - 1n, 24),
  },
  {
    name: 'an L1 table that is too small',
    message: 'l1_size is 0: expected 1 to 4194304 for a disk of 1048576 bytes',
    change: (bytes) => bytes.writeUInt32BE(0, 36),
  },
  {
    name: 'an L1 table behind the end',
    message: "l1_table_offset is 1048576: expected a cluster's start, in a file of 262144 bytes",
    change: (bytes) => bytes.writeBigUInt64BE(2n ** 20n, 40),
  },
  {
    name: 'an L1 table that would be huge',
    message: 'l1_size is 4294967295: expected 1 to 4194304 for a disk of 1048576 bytes',
    change: (bytes) => bytes.writeUInt32BE(2 ** 32 - 1, 36),
  },
  {
    name: 'no refcount table',
    message: 'refcount_table_clusters is 0: expected 1 to 128',
    change: (bytes) => bytes.writeUInt32BE(0, 56),
  },
  {
    name: 'tables at one place',
    message: 'its L1 table and its refcount table overlap',
    change: (bytes) => bytes.writeBigUInt64BE(65536n, 40),
  },
  {
    name: 'an unknown feature',
    message: 'it has features that are not known (incompatible_features): a newer format',
    change: (bytes) => bytes.writeUInt32BE(32, 76),
  },
  {
    name: 'an external data file',
    message: 'its data is in an external file, which is not supported; copy it by qemu-img convert',
    change: (bytes) => bytes.writeUInt32BE(4, 76),
  },
  {
    name: 'extended L2 entries',
    message:
      'it has extended L2 entries (subclusters), which are not supported; ' +
      'copy it by qemu-img convert -O qcow2 -o extended_l2=off',
    change: (bytes) => bytes.writeUInt32BE(16, 76),
  },
  {
    name: 'a compression that is not known',
    message: 'compression_type is 2: expected 0 (zlib) or 1 (zstd)',
    change: (bytes) => {
      bytes.writeUInt32BE(8, 76);
      bytes[104] = 2;
    },
  },
  {
    name: 'refcounts of 128 bits',
    message: 'refcount_order is 7: expected at most 6',
    change: (bytes) => bytes.writeUInt32BE(7, 96),
  },
  {
    name: 'a header that is too short',
    message: 'header_length is 72: expected at least 104, in one cluster',
    change: (bytes) => bytes.writeUInt32BE(72, 100),
  },
  {
    name: 'an extension that does not end',
    message: 'a header extension at 112 does not end (4294967295)',
    change: (bytes) => {
      bytes.writeUInt32BE(0x12345678, 112);
      bytes.writeUInt32BE(2 ** 32 - 1, 116);
    },
  },
  {
    name: 'the name of a backing file elsewhere',
    message: 'the name of its backing file is not in the first cluster (70000, 4)',
    change: (bytes) => {
      bytes.writeBigUInt64BE(70_000n, 8);
      bytes.writeUInt32BE(4, 16);
    },
  },
  {
    name: 'the dirty bit',
    message:
      'it was not closed as it should be, so its refcounts may be wrong: ' +
      'repair it by qemu-img check -r all, or use it read-only',
    isReadable: true,
    change: (bytes) => bytes.writeUInt32BE(1, 76),
  },
  {
    name: 'the corrupt bit',
    message: 'it is marked as corrupt: repair it by qemu-img check -r all, or use it read-only',
    isReadable: true,
    change: (bytes) => bytes.writeUInt32BE(2, 76),
  },
];

async function image(t: TestContext, { change, options }: Wrong): Promise<string> {
  const path = join(imageFolder(t), 'image.qcow2');
  await createQcow2(path, { sizeBytes: SIZE_BYTES, ...options });
  const bytes = readFileSync(path);
  change(bytes);
  writeFileSync(path, bytes);
  return path;
}

suite('an image is refused', () => {
  for (const each of CASES) {
    test(each.name, async (t) => {
      const path = await image(t, each);
      const before = readFileSync(path);
      const descriptors = openDescriptors();
      await assert.rejects(openDisk(qcow2(file(path))), (error) => {
        assert.ok(error instanceof StorageError, String(error));
        assert.deepEqual([error.code, error.message], ['DISK_FORMAT', `${path}: ${each.message}`]);
        return true;
      });
      assert.deepEqual(openDescriptors(), descriptors);
      assert.ok(readFileSync(path).equals(before));
      if (each.isReadable !== true) return;
      const disk = await openDisk(qcow2(file(path)), { readOnly: true });
      assert.ok(disk.info.readOnly);
      await disk.close();
      assert.ok(readFileSync(path).equals(before));
    });
  }

  test('a file that is too small', async (t) => {
    const path = join(imageFolder(t), 'small');
    writeFileSync(path, 'QFI');
    const tooSmall = `${path}: not a qcow2 image; a raw one is written file(...)`;
    await assert.rejects(openDisk(qcow2(file(path))), { code: 'DISK_FORMAT', message: tooSmall });
  });

  test('a disk that does not end with a block of the one it is in', async (t) => {
    const options = { sizeBytes: SIZE_BYTES + 512 };
    const path = await image(t, { name: '', message: '', options, change: () => {} });
    const problem = 'its size of 1049088 bytes is no multiple of blocks of 4096';
    const hint =
      'enlarge it by qemu-img resize to 1028K, or open what is below with smaller blocks';
    const expected = { code: 'DISK_FORMAT', message: `${path}: ${problem}: ${hint}` };
    await assert.rejects(openDisk(qcow2(file(path)), { blockBytes: 4096 }), expected);
    await (await openDisk(qcow2(file(path)))).close();
  });

  test('autoclear features are cleared when it is opened to be written', async (t) => {
    const change = (bytes: Buffer): void => void bytes.writeBigUInt64BE(1n, 88);
    const path = await image(t, { name: '', message: '', change });
    await (await openDisk(qcow2(file(path)), { readOnly: true })).close();
    assert.equal(readFileSync(path).readBigUInt64BE(88), 1n);
    await (await openDisk(qcow2(file(path)))).close();
    assert.equal(readFileSync(path).readBigUInt64BE(88), 0n);
  });
});

suite('an image that cannot be is not made', () => {
  for (const [name, options, message] of [
    ['a size', { sizeBytes: 100 }, 'sizeBytes is 100: expected a positive multiple of 512'],
    [
      'clusters',
      { clusterBytes: 3000 },
      'clusterBytes is 3000: expected a power of two from 512 to 2097152',
    ],
    [
      'refcounts',
      { refcountBits: 128 },
      'refcountBits is 128: expected a power of two from 1 to 64',
    ],
    [
      'version 2 with zstd',
      { version: 2, compression: 'zstd' },
      'version 2 has refcounts of 16 bits, and zlib',
    ],
    [
      'too large',
      { sizeBytes: 2 ** 40, clusterBytes: 512 },
      'sizeBytes is 1099511627776: too large for clusters of 512 bytes',
    ],
  ] as const) {
    test(name, async (t) => {
      const path = join(imageFolder(t), 'image.qcow2');
      const all = { sizeBytes: SIZE_BYTES, ...options };
      const expected = { code: 'DISK_OPTION', message: `qcow2 image: ${message}` };
      await assert.rejects(createQcow2(path, all), expected);
    });
  }

  test('where something is', async (t) => {
    const path = join(imageFolder(t), 'image.qcow2');
    writeFileSync(path, 'mine');
    const expected = {
      code: 'DISK_OPEN_FAILED',
      message: `cannot make ${path}: file already exists`,
    };
    await assert.rejects(createQcow2(path, { sizeBytes: SIZE_BYTES }), expected);
    assert.equal(readFileSync(path, 'utf8'), 'mine');
  });
});
