/** Where frames of zstd end, and those that are none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decompressCluster } from '../../../../src/storage/qcow2/decompress.ts';
import { zstdFrameBytes } from '../../../../src/storage/qcow2/zstd-frame.ts';

/** 1024 sevens: a single segment, its size in four bytes, one block that repeats a byte. */
const SEVENS = Buffer.from('28b52ffda000040000032000' + '07', 'hex');
const GARBAGE = Buffer.alloc(100, 0xfd);

test('a frame ends with its last block, whatever follows', async () => {
  assert.equal(zstdFrameBytes(Buffer.concat([SEVENS, GARBAGE])), SEVENS.length);
  const content = await decompressCluster(Buffer.concat([SEVENS, GARBAGE]), 1024, 'zstd');
  assert.ok(Buffer.from(content).equals(Buffer.alloc(1024, 7)));
});

test('what is cut off, or no frame, or needs too much memory, is none', () => {
  for (let bytes = 0; bytes < SEVENS.length; bytes++) {
    assert.equal(zstdFrameBytes(SEVENS.subarray(0, bytes)), undefined, `${bytes} bytes`);
  }
  assert.equal(zstdFrameBytes(GARBAGE), undefined);
  const large = Buffer.from(SEVENS);
  large.writeUInt32LE(2 ** 31, 5);
  assert.equal(zstdFrameBytes(large), undefined);
});

test('a cluster that is not as large as it should be, or makes no sense, is an I/O error', async () => {
  await assert.rejects(decompressCluster(SEVENS, 512, 'zstd'), { code: 'EIO' });
  await assert.rejects(decompressCluster(SEVENS, 2048, 'zstd'), { code: 'EIO' });
  await assert.rejects(decompressCluster(GARBAGE, 1024, 'zstd'), { code: 'EIO' });
  await assert.rejects(decompressCluster(GARBAGE, 1024, 'zlib'), { code: 'EIO' });
});
