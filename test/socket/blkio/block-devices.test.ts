/** The io_uring driver: what is of block devices only. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Blkio, RequestFlag } from '../../../src/blkio/index.ts';
import { DISK_BYTES, LOOP_PLACES } from '../../support/blkio-place.ts';
import { doAll, readBytes, resultOf, withCode } from '../../support/blkio-queue-results.ts';
import { eventually } from '../../support/eventually.ts';
import {
  cannotLoop,
  cannotMount,
  ext4On,
  loopDevice,
  loopsOf,
  resizeLoop,
} from '../../support/host-file-systems.ts';
import { type CleanUp, imageFolder } from '../../support/image-folder.ts';
import { assertSameBytes, patternBytes } from '../../support/request-bytes.ts';
import { spawnTied, tiedProcessRequirement } from '../../support/tied-process.ts';

const UNIT = 4096;
const MIB = 1024 * 1024;
const LEAVING = fileURLToPath(new URL('../../support/leaving-loop.js', import.meta.url));
const noLoop = cannotLoop();

function image(t: CleanUp, sizeBytes = DISK_BYTES): string {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, patternBytes(sizeBytes));
  return path;
}

/** What the kernel says of a device. */
function sysfsNumber(devicePath: string, name: string): number {
  return Number(readFileSync(`/sys/block/${basename(devicePath)}/${name}`, 'utf8'));
}

function deviceAt(path: string, properties: Readonly<Record<string, boolean>> = {}): Blkio {
  const device = new Blkio('io_uring');
  device.set('path', path);
  for (const [name, value] of Object.entries(properties)) device.set(name, value);
  return device;
}

for (const place of LOOP_PLACES) {
  const { name, blockBytes, skip } = place;
  const isDirect = name.endsWith('direct');
  suite(name, () => {
    test('limits are those of the kernel', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      const alignment = isDirect ? blockBytes : 1;
      assert.equal(device.get('request-alignment'), alignment);
      assert.equal(device.get('buf-alignment'), alignment);
      const minimum = sysfsNumber(disk.path, 'queue/minimum_io_size');
      assert.equal(device.get('optimal-io-alignment'), Math.max(alignment, minimum));
      assert.equal(device.get('optimal-io-size'), sysfsNumber(disk.path, 'queue/optimal_io_size'));
      const granularity = sysfsNumber(disk.path, 'queue/discard_granularity');
      assert.ok(granularity >= blockBytes);
      assert.equal(device.get('discard-alignment'), granularity);
      assert.equal(
        device.get('discard-alignment-offset'),
        sysfsNumber(disk.path, 'discard_alignment'),
      );
    });

    test('the last block, and none behind it', { skip }, async () => {
      await using disk = await place.start({ content: patternBytes(DISK_BYTES) });
      const queue = (await disk.started()).queue(0);
      const data = patternBytes(blockBytes, 3);
      doAll(queue, () => queue.write(DISK_BYTES - blockBytes, data));
      assertSameBytes(disk.readImage(DISK_BYTES - blockBytes, blockBytes), data, 'image');
      assert.equal(
        resultOf(queue, () => queue.write(DISK_BYTES, data)),
        'EINVAL',
      );
    });

    test('a device that gets larger', { skip }, async (t) => {
      const path = image(t);
      const loop = loopDevice(t, path, { sectorBytes: isDirect ? blockBytes : 512 });
      using device = deviceAt(loop, { direct: isDirect });
      await device.connect();
      await device.start();
      const queue = device.queue(0);
      const data = patternBytes(UNIT, 5);
      assert.equal(
        resultOf(queue, () => queue.write(DISK_BYTES, data)),
        'EINVAL',
      );
      truncateSync(path, 2 * DISK_BYTES);
      resizeLoop(loop);
      assert.equal(device.get('capacity'), BigInt(2 * DISK_BYTES));
      doAll(queue, () => queue.write(DISK_BYTES, data));
      assertSameBytes(readBytes(queue, DISK_BYTES, UNIT), data, 'what is new');
    });

    test('discards and zeroes give space back, unless they may not', { skip }, async (t) => {
      const path = image(t, 4 * MIB);
      const loop = loopDevice(t, path, { sectorBytes: isDirect ? blockBytes : 512 });
      using device = deviceAt(loop, { direct: isDirect });
      await device.connect();
      await device.start();
      const queue = device.queue(0);
      const freed = (request: () => void): number => {
        const before = statSync(path).blocks;
        doAll(queue, request);
        return (before - statSync(path).blocks) * 512;
      };
      const { NO_UNMAP } = RequestFlag;
      assert.ok(freed(() => queue.writeZeroes(0, MIB, 'kept', NO_UNMAP)) < MIB / 2);
      assert.ok(freed(() => queue.writeZeroes(MIB, MIB)) >= MIB / 2);
      assert.ok(freed(() => queue.discard(2 * MIB, MIB)) >= MIB / 2);
      // Less than the device can do is no error.
      assert.ok(freed(() => queue.discard(3 * MIB, blockBytes)) <= UNIT);
      assertSameBytes(readBytes(queue, 0, 2 * MIB), new Uint8Array(2 * MIB), 'zeros');
      const rest = patternBytes(4 * MIB).subarray(3 * MIB + UNIT);
      assertSameBytes(readBytes(queue, 3 * MIB + UNIT, MIB - UNIT), rest, 'the rest');
    });
  });
}

suite('block devices that are not to be written', { skip: noLoop }, () => {
  test('a read-only one: EROFS, unless read-only is set', async (t) => {
    const path = image(t);
    const loop = loopDevice(t, path, { readOnly: true });
    using device = deviceAt(loop);
    await device.connect();
    assert.equal(device.get('read-only'), false);
    await assert.rejects(device.start(), withCode('EROFS'));
    device.close();
    using reader = deviceAt(loop, { 'read-only': true });
    await reader.connect();
    await reader.start();
    assertSameBytes(readBytes(reader.queue(0), 0, UNIT), readFileSync(path).subarray(0, UNIT), '');
  });

  test('one that is mounted: EBUSY', { skip: cannotMount() }, async (t) => {
    const loop = loopDevice(t, image(t, 4 * MIB));
    ext4On(t, loop);
    using device = deviceAt(loop);
    await assert.rejects(device.connect(), (error: Error) => {
      assert.match(error.message, /it is mounted \(stop that process, or use locking=false if/);
      return withCode('EBUSY')(error);
    });
  });
});

suite('loop devices of tests', { skip: noLoop }, () => {
  test('are detached with their last user', async (t) => {
    const path = image(t);
    let release: (() => void) | undefined;
    const loop = loopDevice({ after: (clean) => (release = clean) }, path);
    const device = deviceAt(loop);
    await device.connect();
    release?.();
    assert.equal(loopsOf(path).length, 1, 'the device has it open still');
    device.close();
    await eventually('it is detached', () => loopsOf(path).length === 0);
  });

  test('are detached when a test is killed', {
    skip: tiedProcessRequirement() ?? false,
  }, async (t) => {
    const path = image(t);
    const args = [LEAVING, path];
    const { child, ended } = spawnTied(process.execPath, args, ['pipe', 'pipe', 'inherit']);
    assert.ok(child.stdout !== null);
    await once(child.stdout, 'data');
    assert.equal(loopsOf(path).length, 1);
    child.kill('SIGKILL');
    await ended;
    await eventually('it is detached', () => loopsOf(path).length === 0);
  });
});
