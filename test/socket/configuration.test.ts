/** What the device says of itself: features, configuration space, and the one field to write. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { BlockDriver } from '../../src/testing/index.ts';
import { F_PROTOCOL_FEATURES } from '../../src/vhost-user/index.ts';
import { BlockFeature, CONFIG_BYTES, ConfigOffset } from '../../src/virtio-blk/index.ts';
import { RingFeature } from '../../src/virtqueue/index.ts';
import { ServedDisk } from '../support/served-disk.ts';

const MIB = 1024 * 1024;

function setOf(...bits: readonly number[]): bigint {
  return bits.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);
}

const WRITABLE_FEATURES = setOf(
  ...Object.values(RingFeature),
  ...Object.values(BlockFeature).filter((bit) => bit !== BlockFeature.RO),
  F_PROTOCOL_FEATURES,
);

/** Write a part of the configuration space as a driver does. */
function setConfig(driver: BlockDriver, offset: number, bytes: readonly number[]): Promise<void> {
  const payload = { offset, size: bytes.length, flags: 0, bytes: Uint8Array.from(bytes) };
  return driver.connection.session.request('SET_CONFIG', payload);
}

suite('features', () => {
  test('a writable disk offers all but read-only', async () => {
    await using disk = await ServedDisk.start();
    const driver = await disk.connect({ packed: true });
    assert.equal(driver.connection.features, WRITABLE_FEATURES);
  });

  test('a read-only disk says so and offers nothing that changes it', async () => {
    await using disk = await ServedDisk.start({ args: ['--read-only'] });
    const driver = await disk.connect({ packed: true });
    const changing = setOf(BlockFeature.DISCARD, BlockFeature.WRITE_ZEROES);
    const expected = (WRITABLE_FEATURES & ~changing) | setOf(BlockFeature.RO);
    assert.equal(driver.connection.features, expected);
    const config = await driver.connection.readConfig();
    assert.equal(config.getUint32(ConfigOffset.MAX_DISCARD_SECTORS, true), 0);
    assert.equal(config.getUint32(ConfigOffset.MAX_WRITE_ZEROES_SECTORS, true), 0);
  });

  test('features that were not offered are refused', async () => {
    await using disk = await ServedDisk.start();
    const { connection } = await disk.connect();
    const value = connection.features | setOf(BlockFeature.RO);
    await assert.rejects(connection.session.request('SET_FEATURES', { value }), {
      code: 'REFUSED',
    });
  });
});

suite('configuration space', () => {
  test('every field of a disk is there', async () => {
    const args = ['--num-queues=5', '--block-size=4096'];
    await using disk = await ServedDisk.start({ args, sizeBytes: 3 * MIB });
    const driver = await disk.connect();
    const config = await driver.connection.readConfig();
    assert.equal(config.getBigUint64(ConfigOffset.CAPACITY, true), BigInt((3 * MIB) / 512));
    assert.equal(config.getUint32(ConfigOffset.SIZE_MAX, true), MIB);
    assert.equal(config.getUint32(ConfigOffset.SEG_MAX, true), 126);
    assert.equal(config.getUint32(ConfigOffset.BLK_SIZE, true), 4096);
    assert.equal(config.getUint16(ConfigOffset.MIN_IO_SIZE, true), 0);
    assert.equal(config.getUint8(ConfigOffset.WRITEBACK), 1);
    assert.equal(config.getUint16(ConfigOffset.NUM_QUEUES, true), 5);
    assert.equal(config.getUint32(ConfigOffset.MAX_DISCARD_SECTORS, true), 65536);
    assert.equal(config.getUint32(ConfigOffset.MAX_DISCARD_SEG, true), 16);
    assert.equal(config.getUint32(ConfigOffset.DISCARD_SECTOR_ALIGNMENT, true), 8);
    assert.equal(config.getUint32(ConfigOffset.MAX_WRITE_ZEROES_SECTORS, true), 65536);
    assert.equal(config.getUint32(ConfigOffset.MAX_WRITE_ZEROES_SEG, true), 16);
    assert.equal(config.getUint8(ConfigOffset.WRITE_ZEROES_MAY_UNMAP), 1);
    assert.equal(driver.connection.maxQueues, 5);
  });

  test('the block size is what --block-size says', async () => {
    for (const bytes of [512, 1024, 65536]) {
      await using disk = await ServedDisk.start({ args: [`--block-size=${bytes}`] });
      const config = await (await disk.connect()).connection.readConfig();
      assert.equal(config.getUint32(ConfigOffset.BLK_SIZE, true), bytes);
    }
  });

  test('any part of it can be read, also a part that lies beyond its end', async () => {
    await using disk = await ServedDisk.start({ sizeBytes: 3 * MIB });
    const { session } = (await disk.connect()).connection;
    const read = async (offset: number, size: number): Promise<Uint8Array> => {
      const request = { offset, size, flags: 0, bytes: new Uint8Array(size) };
      return (await session.request('GET_CONFIG', request)).bytes;
    };
    const whole = await read(0, CONFIG_BYTES);
    const beyond = await read(CONFIG_BYTES - 4, 8);
    assert.deepEqual(await read(20, 4), whole.slice(20, 24));
    assert.deepEqual(beyond, Uint8Array.from([...whole.subarray(CONFIG_BYTES - 4), 0, 0, 0, 0]));
    assert.deepEqual(
      await read(0, 256),
      Uint8Array.from([...whole, ...Array<number>(160).fill(0)]),
    );
  });

  test('only writeback can be written, as 0 or 1', async () => {
    await using disk = await ServedDisk.start();
    const driver = await disk.connect();
    const writeback = async (): Promise<number> =>
      (await driver.connection.readConfig()).getUint8(ConfigOffset.WRITEBACK);
    await setConfig(driver, ConfigOffset.WRITEBACK, [0]);
    assert.equal(await writeback(), 0);
    await setConfig(driver, ConfigOffset.WRITEBACK, [1]);
    assert.equal(await writeback(), 1);
    const refused: readonly (readonly [number, readonly number[]])[] = [
      [ConfigOffset.WRITEBACK, [2]],
      [ConfigOffset.WRITEBACK, [0, 0]],
      [ConfigOffset.CAPACITY, [1]],
      [ConfigOffset.NUM_QUEUES, [1, 0]],
      [CONFIG_BYTES, [0]],
    ];
    const before = await driver.connection.readConfig();
    for (const [offset, bytes] of refused) {
      await assert.rejects(setConfig(driver, offset, bytes), { code: 'REFUSED' });
    }
    assert.deepEqual(await driver.connection.readConfig(), before);
  });

  test('the next client finds writeback as the program was told', async () => {
    for (const [args, initial] of [
      [[], 1],
      [['--cache=writethrough'], 0],
    ] as const) {
      await using disk = await ServedDisk.start({ args });
      const first = await disk.connect();
      await setConfig(first, ConfigOffset.WRITEBACK, [1 - initial]);
      first.close();
      const second = await disk.connect();
      const config = await second.connection.readConfig();
      assert.equal(config.getUint8(ConfigOffset.WRITEBACK), initial);
    }
  });
});
