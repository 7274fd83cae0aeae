/** Every type of request over the socket, its effect seen on the image file. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { RANGE_UNMAP, RequestType, SECTOR_BYTES, Status } from '../../src/virtio-blk/index.ts';
import { assertSameBytes, patternBytes, rangesPayload } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const MIB = 1024 * 1024;
const { IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES } = RequestType;

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`transfers, ${engine}`, () => {
    test('OUT puts its data at its sector and nothing elsewhere', { skip }, async () => {
      const content = patternBytes(MIB);
      await using disk = await ServedDisk.start({ engine, content });
      const driver = await disk.connect();
      const data = patternBytes(12 * SECTOR_BYTES, 2);
      const result = await driver.request({ type: OUT, sector: 77, data });
      assert.equal(result.status, Status.OK);
      assert.equal(result.usedLength, 1, 'only the status was written to guest memory');
      content.set(data, 77 * SECTOR_BYTES);
      assertSameBytes(disk.readImage(), content, 'image');
    });

    test('IN brings what the image holds at its sector', { skip }, async () => {
      const content = patternBytes(MIB);
      await using disk = await ServedDisk.start({ engine, content });
      const driver = await disk.connect();
      const result = await driver.request({ type: IN, sector: 100, room: 16 * SECTOR_BYTES });
      assert.equal(result.status, Status.OK);
      assert.equal(result.usedLength, 16 * SECTOR_BYTES + 1);
      assertSameBytes(result.data, content.subarray(100 * 512, 116 * 512), 'data read');
    });

    test('IN sees what OUT has just written', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const driver = await disk.connect();
      const data = patternBytes(65536, 3);
      await driver.write(8, data);
      assertSameBytes(await driver.read(8, 128), data, 'data read back');
    });

    test('an image of odd size ends in zeros, and keeps what is written there', {
      skip,
    }, async () => {
      const content = patternBytes(4096 + 100);
      await using disk = await ServedDisk.start({ engine, content });
      const driver = await disk.connect();
      const last = await driver.read(8, 1);
      assertSameBytes(last.subarray(0, 100), content.subarray(4096), 'what is there');
      assertSameBytes(last.subarray(100), new Uint8Array(412), 'what is not there');
      const data = patternBytes(SECTOR_BYTES, 4);
      await driver.write(8, data);
      assertSameBytes(disk.readImage(4096), data, 'last sector of the image');
    });
  });

  suite(`other requests, ${engine}`, () => {
    test('FLUSH succeeds, whatever its sector', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const driver = await disk.connect();
      for (const sector of [0, 5, 2n ** 63n]) {
        const result = await driver.request({ type: FLUSH, sector });
        assert.deepEqual([result.status, result.usedLength], [Status.OK, 1]);
      }
      driver.close();
      await disk.server.logged(/client 1 disconnected: flushes 3/);
    });

    test('GET_ID gives the serial number, padded with NUL', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, args: ['--serial=disk of a test'] });
      const driver = await disk.connect();
      const result = await driver.request({ type: GET_ID, room: 20 });
      assert.deepEqual([result.status, result.usedLength], [Status.OK, 21]);
      assert.equal(Buffer.from(result.data).toString(), 'disk of a test\0\0\0\0\0\0');
    });

    test('a serial number of 20 bytes has no NUL; a small buffer gets its start', {
      skip,
    }, async () => {
      await using disk = await ServedDisk.start({
        engine,
        args: ['--serial=01234567890123456789'],
      });
      const driver = await disk.connect();
      const whole = await driver.request({ type: GET_ID, room: 20 });
      assert.equal(Buffer.from(whole.data).toString(), '01234567890123456789');
      const part = await driver.request({ type: GET_ID, room: 7 });
      assert.deepEqual([part.status, part.usedLength], [Status.OK, 8]);
      assert.equal(Buffer.from(part.data).toString(), '0123456');
    });
  });

  suite(`ranges, ${engine}`, () => {
    test('DISCARD gives the space of all its segments back', { skip }, async () => {
      const content = patternBytes(4 * MIB);
      await using disk = await ServedDisk.start({ engine, content });
      const driver = await disk.connect();
      const before = disk.allocatedBytes;
      const data = rangesPayload({ sector: 0, sectors: 2048 }, { sector: 4096, sectors: 2048 });
      const result = await driver.request({ type: DISCARD, data });
      assert.deepEqual([result.status, result.usedLength], [Status.OK, 1]);
      content.fill(0, 0, MIB);
      content.fill(0, 2 * MIB, 3 * MIB);
      assertSameBytes(disk.readImage(), content, 'image');
      assert.equal(before - disk.allocatedBytes, 2 * MIB);
    });

    test('WRITE_ZEROES with unmap zeroes and gives space back', { skip }, async () => {
      const content = patternBytes(4 * MIB);
      await using disk = await ServedDisk.start({ engine, content });
      const driver = await disk.connect();
      const before = disk.allocatedBytes;
      const data = rangesPayload({ sector: 2048, sectors: 2048, flags: RANGE_UNMAP });
      const result = await driver.request({ type: WRITE_ZEROES, data });
      assert.deepEqual([result.status, result.usedLength], [Status.OK, 1]);
      content.fill(0, MIB, 2 * MIB);
      assertSameBytes(disk.readImage(), content, 'image');
      assert.equal(before - disk.allocatedBytes, MIB);
    });

    test('WRITE_ZEROES without unmap zeroes and keeps the space', { skip }, async () => {
      const content = patternBytes(4 * MIB);
      await using disk = await ServedDisk.start({ engine, content });
      const driver = await disk.connect();
      const before = disk.allocatedBytes;
      const data = rangesPayload({ sector: 1, sectors: 3000 }, { sector: 5000, sectors: 1 });
      const result = await driver.request({ type: WRITE_ZEROES, data });
      assert.equal(result.status, Status.OK);
      content.fill(0, 512, 3001 * 512);
      content.fill(0, 5000 * 512, 5001 * 512);
      assertSameBytes(disk.readImage(), content, 'image');
      assert.ok(disk.allocatedBytes >= before, 'no space was given back');
    });

    test('the most segments, mixed and with empty ones, are all worked on', { skip }, async () => {
      const content = patternBytes(MIB);
      await using disk = await ServedDisk.start({ engine, content });
      const driver = await disk.connect();
      const ranges = Array.from({ length: 16 }, (_, index) => ({
        sector: index * 128 + 3,
        sectors: index % 5 === 4 ? 0 : index + 1,
        flags: index % 2,
      }));
      const data = rangesPayload(...ranges);
      const result = await driver.request({ type: WRITE_ZEROES, data });
      assert.equal(result.status, Status.OK);
      for (const { sector, sectors } of ranges) {
        content.fill(0, sector * 512, (sector + sectors) * 512);
      }
      assertSameBytes(disk.readImage(), content, 'image');
    });
  });
}
