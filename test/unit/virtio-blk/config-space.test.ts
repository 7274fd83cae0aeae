/** The configuration space against the specification's table (virtio 1.3, 5.2.4). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiskInfo } from '../../../src/storage/index.ts';
import { CONFIG_BYTES, ConfigSpace } from '../../../src/virtio-blk/index.ts';

const DISK: DiskInfo = {
  sizeBytes: 3 * 2 ** 42 + 4096,
  readOnly: false,
  logicalBlockBytes: 4096,
  physicalBlockBytes: 32768,
  minIoBytes: 65536,
  optimalIoBytes: 2 ** 20,
  canDiscard: true,
  canWriteZeroes: true,
  writeBack: true,
};

/** Offset and width of each field, as the specification has them. */
const FIELDS = {
  capacity: [0x00, 8],
  size_max: [0x08, 4],
  seg_max: [0x0c, 4],
  cylinders: [0x10, 2],
  heads: [0x12, 1],
  sectors: [0x13, 1],
  blk_size: [0x14, 4],
  physical_block_exp: [0x18, 1],
  alignment_offset: [0x19, 1],
  min_io_size: [0x1a, 2],
  opt_io_size: [0x1c, 4],
  writeback: [0x20, 1],
  unused0: [0x21, 1],
  num_queues: [0x22, 2],
  max_discard_sectors: [0x24, 4],
  max_discard_seg: [0x28, 4],
  discard_sector_alignment: [0x2c, 4],
  max_write_zeroes_sectors: [0x30, 4],
  max_write_zeroes_seg: [0x34, 4],
  write_zeroes_may_unmap: [0x38, 1],
  unused1: [0x39, 3],
  max_secure_erase_sectors: [0x3c, 4],
  max_secure_erase_seg: [0x40, 4],
  secure_erase_sector_alignment: [0x44, 4],
  zone_sectors: [0x48, 4],
  max_open_zones: [0x4c, 4],
  max_active_zones: [0x50, 4],
  max_append_sectors: [0x54, 4],
  write_granularity: [0x58, 4],
  model: [0x5c, 1],
  unused2: [0x5d, 3],
} as const;

/** All fields that are not 0, each read by itself. */
function fieldsOf(config: ConfigSpace): Partial<Record<keyof typeof FIELDS, number>> {
  const values = Object.entries(FIELDS).map(([name, [offset, width]]) => {
    const bytes = config.read(offset, width);
    assert.equal(bytes.length, width);
    return [name, bytes.reduceRight((value, byte) => value * 256 + byte, 0)] as const;
  });
  return Object.fromEntries(values.filter(([, value]) => value !== 0));
}

test('the table covers the 96 bytes without a gap', () => {
  let end = 0;
  for (const [offset, width] of Object.values(FIELDS)) {
    assert.equal(offset, end);
    end = offset + width;
  }
  assert.equal(end, CONFIG_BYTES);
});

test('every field has its place and value', () => {
  assert.deepEqual(fieldsOf(new ConfigSpace(DISK, 513)), {
    capacity: DISK.sizeBytes / 512,
    size_max: 2 ** 20,
    seg_max: 126,
    blk_size: 4096,
    physical_block_exp: 3,
    min_io_size: 16,
    opt_io_size: 256,
    writeback: 1,
    num_queues: 513,
    max_discard_sectors: 65536,
    max_discard_seg: 16,
    discard_sector_alignment: 8,
    max_write_zeroes_sectors: 65536,
    max_write_zeroes_seg: 16,
    write_zeroes_may_unmap: 1,
  });
});

test('a disk that can do less says less', () => {
  const small = {
    logicalBlockBytes: 512,
    physicalBlockBytes: 512,
    minIoBytes: 0,
    optimalIoBytes: 0,
  };
  const able = { canDiscard: false, canWriteZeroes: false, writeBack: false };
  assert.deepEqual(fieldsOf(new ConfigSpace({ ...DISK, ...small, ...able }, 1)), {
    capacity: DISK.sizeBytes / 512,
    size_max: 2 ** 20,
    seg_max: 126,
    blk_size: 512,
    num_queues: 1,
  });
});

test('a preferred size too large for its field is cut down, not wrapped', () => {
  const config = new ConfigSpace({ ...DISK, logicalBlockBytes: 512, minIoBytes: 2 ** 26 }, 1);
  assert.equal(fieldsOf(config).min_io_size, 0xffff);
});

test('what lies beyond the end reads as zeros', () => {
  const config = new ConfigSpace(DISK, 1);
  assert.deepEqual(config.read(90, 20), new Uint8Array(20));
  assert.deepEqual(config.read(256, 4), new Uint8Array(4));
  assert.deepEqual(config.read(0, 256).subarray(0, 96), config.read(0, 96));
});

test('a driver may write the writeback field, 0 or 1, and nothing else', () => {
  const config = new ConfigSpace(DISK, 1);
  const before = config.read(0, CONFIG_BYTES);
  for (let offset = -1; offset <= CONFIG_BYTES + 1; offset++) {
    if (offset === FIELDS.writeback[0]) continue;
    assert.equal(config.write(offset, Uint8Array.of(0)), false, `offset ${offset}`);
  }
  const wrong = [[], [2], [255], [0, 0], [1, 0, 0, 0]];
  for (const bytes of wrong) assert.equal(config.write(0x20, Uint8Array.from(bytes)), false);
  assert.deepEqual(config.read(0, CONFIG_BYTES), before);
  for (const value of [0, 1, 1, 0]) {
    assert.equal(config.write(0x20, Uint8Array.of(value)), true);
    assert.equal(config.writeback, value === 1);
    assert.deepEqual(config.read(0x20, 1), Uint8Array.of(value));
  }
});

test('a restore after migration takes the writeback field and keeps the rest', () => {
  const config = new ConfigSpace(DISK, 1);
  const before = config.read(0, CONFIG_BYTES);
  config.restore(0, new Uint8Array(CONFIG_BYTES));
  assert.equal(config.writeback, false);
  config.writeback = true;
  assert.deepEqual(config.read(0, CONFIG_BYTES), before);
  for (const writeback of [false, true]) {
    config.writeback = writeback;
    config.restore(0, new Uint8Array(0x20));
    config.restore(0x21, new Uint8Array(16));
    assert.equal(config.writeback, writeback, 'the field was not among the bytes');
  }
  config.restore(0x10, new Uint8Array(0x11));
  assert.equal(config.writeback, false);
});
