/** Requests in every layout the specification allows (virtio 1.3, 2.7.4), and the largest ones. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { GuestRam } from '../../src/testing/index.ts';
import { RequestType, SECTOR_BYTES, Status } from '../../src/virtio-blk/index.ts';
import { RingFeature } from '../../src/virtqueue/index.ts';
import {
  ChainDriver,
  type ChainPiece,
  headerBytes,
  readable,
  writable,
} from '../support/chain-driver.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const { IN, OUT, GET_ID } = RequestType;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const NO_INDIRECT = ~(1n << BigInt(RingFeature.INDIRECT_DESC));

/** Descriptor lengths for a request of one sector each way: header and data, data and status. */
const SPLITS: readonly { what: string; out: readonly number[]; in: readonly number[] }[] = [
  { what: 'all in one descriptor', out: [528], in: [513] },
  { what: 'header byte by byte', out: [...Array<number>(16).fill(1), 512], in: [512, 1] },
  { what: 'header split in the middle of a field', out: [5, 7, 4, 512], in: [512, 1] },
  { what: 'header shares a descriptor with data', out: [20, 508], in: [512, 1] },
  { what: 'header ends in the descriptor of the data', out: [10, 518], in: [512, 1] },
  { what: 'status shares a descriptor with data', out: [16, 512], in: [100, 413] },
  { what: 'odd pieces', out: [16, 1, 510, 1], in: [1, 3, 507, 1, 1] },
];

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`layouts, ${engine}`, () => {
    for (const indirect of [true, false]) {
      const how = indirect ? 'in indirect tables' : 'in the ring';
      test(`a request may be cut into descriptors anywhere, ${how}`, { skip }, async () => {
        const content = patternBytes(MIB);
        await using disk = await ServedDisk.start({ engine, content });
        const features = indirect ? {} : { features: NO_INDIRECT };
        const driver = await disk.connect(features);
        for (const [index, split] of SPLITS.entries()) {
          const data = patternBytes(SECTOR_BYTES, index);
          const sector = 3 * index;
          const out = { type: OUT, sector, data, readable: split.out };
          assert.equal((await driver.request(out)).status, Status.OK, split.what);
          content.set(data, sector * SECTOR_BYTES);
          const back = { type: IN, sector, room: SECTOR_BYTES, writable: split.in };
          const result = await driver.request(back);
          assert.deepEqual([result.status, result.usedLength], [Status.OK, 513], split.what);
          assertSameBytes(result.data, data, split.what);
        }
        assertSameBytes(disk.readImage(), content, 'image');
      });
    }

    test('GET_ID may be cut anywhere', { skip }, async () => {
      await using disk = await ServedDisk.start({
        engine,
        args: ['--serial=abcdefghijklmnopqrst'],
      });
      const driver = await disk.connect();
      const result = await driver.request({ type: GET_ID, room: 20, writable: [3, 10, 8] });
      assert.deepEqual([result.status, result.usedLength], [Status.OK, 21]);
      assert.equal(Buffer.from(result.data).toString(), 'abcdefghijklmnopqrst');
    });
  });

  suite(`large requests, ${engine}`, () => {
    test('as many segments as seg_max says, of any sizes', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine, sizeBytes: 32 * MIB });
      const connection = await disk.connectRings({ features: NO_INDIRECT });
      using driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
      const { ram } = connection;
      const header = ram.allocate(16);
      const status = ram.allocate(1);
      // Sectors 1, 2, ... 126 of them: pieces of all lengths, with the header and the status the
      // 128 descriptors of the ring.
      const pieces = Array.from({ length: 126 }, (_, index) =>
        ram.allocate((index + 1) * SECTOR_BYTES),
      );
      pieces.forEach(({ bytes }, index) => {
        bytes.set(patternBytes(bytes.length, index));
      });
      const expected = Buffer.concat(pieces.map(({ bytes }) => bytes));
      header.bytes.set(headerBytes(OUT, 64));
      const out = pieces.map((piece) => readable(piece));
      assert.equal(await driver.run([readable(header), ...out, writable(status)]), 1);
      assert.equal(status.bytes[0], Status.OK);
      assertSameBytes(disk.readImage(64 * 512, expected.length), expected, 'image');
      for (const { bytes } of pieces) bytes.fill(0);
      header.bytes.set(headerBytes(IN, 64));
      const back = pieces.map((piece) => writable(piece));
      const used = await driver.run([readable(header), ...back, writable(status)]);
      assert.equal(used, expected.length + 1);
      assertSameBytes(Buffer.concat(pieces.map(({ bytes }) => bytes)), expected, 'read back');
    });

    for (const sizeBytes of [MIB, MIB + 512, 8 * MIB, 24 * MIB]) {
      test(`${sizeBytes} bytes in one segment`, { skip }, async () => {
        await using disk = await ServedDisk.start({ engine, sizeBytes: 32 * MIB });
        const connection = await disk.connectRings();
        using driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
        const { ram } = connection;
        const [header, status] = [ram.allocate(16), ram.allocate(1)];
        const data = ram.allocate(sizeBytes, 4096);
        const expected = patternBytes(sizeBytes, 5);
        data.bytes.set(expected);
        header.bytes.set(headerBytes(OUT, 8));
        await driver.run([readable(header), readable(data), writable(status)]);
        assert.equal(status.bytes[0], Status.OK);
        assertSameBytes(disk.readImage(4096, sizeBytes), expected, 'image');
        data.bytes.fill(0);
        header.bytes.set(headerBytes(IN, 8));
        const used = await driver.run([readable(header), writable(data), writable(status)]);
        assert.deepEqual([used, status.bytes[0]], [sizeBytes + 1, Status.OK]);
        assertSameBytes(data.bytes, expected, 'read back');
      });
    }
  });

  suite(`guest memory, ${engine}`, () => {
    // Regions 0 to 2 adjoin; the others are as far up as guests' memory gets.
    const plan = [
      { guestAddress: 0, sizeBytes: 2 * MIB },
      { guestAddress: 2 * MIB, sizeBytes: 4096 },
      { guestAddress: 2 * MIB + 4096, sizeBytes: MIB },
      { guestAddress: 5 * GIB + 4096, sizeBytes: MIB },
      { guestAddress: 2 ** 46, sizeBytes: MIB },
    ];

    test('a request may cross from one region into adjoining ones', { skip }, async () => {
      const content = patternBytes(MIB);
      await using disk = await ServedDisk.start({ engine, content });
      const ram = new GuestRam(plan);
      const connection = await disk.connectRings({ ram });
      using driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
      // Header: 6 bytes in region 0, the rest in region 1; data: through all three.
      const chain = (type: number, sector: number): ChainPiece[] => {
        const header = headerBytes(type, sector);
        ram.at(0, 2 * MIB - 6, 6).bytes.set(header.subarray(0, 6));
        ram.at(1, 0, 10).bytes.set(header.subarray(6));
        const start = { guestAddress: 2 * MIB - 6, length: 16, writable: false };
        const data = { guestAddress: 2 * MIB - 3 * 512, length: 8192, writable: type === IN };
        return [start, data, { guestAddress: 2 * MIB + 9000, length: 1, writable: true }];
      };
      await driver.run(chain(IN, 16));
      const expected = content.slice(8192, 16384);
      const crossing = (): Uint8Array =>
        Buffer.concat([
          ram.at(0, 2 * MIB - 1536, 1536).bytes,
          ram.at(1, 0, 4096).bytes,
          ram.at(2, 0, 8192 - 1536 - 4096).bytes,
        ]);
      assert.equal(ram.at(2, 9000 - 4096, 1).bytes[0], Status.OK);
      assertSameBytes(crossing(), expected, 'read across regions');
      const out = chain(OUT, 100);
      content.set(crossing(), 100 * 512);
      await driver.run(out);
      assertSameBytes(disk.readImage(), content, 'image after a write across regions');
    });

    test('addresses above 4 GiB, and a buffer in each region', { skip }, async () => {
      const content = patternBytes(MIB);
      await using disk = await ServedDisk.start({ engine, content });
      const ram = new GuestRam(plan);
      const connection = await disk.connectRings({ ram });
      using driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
      const header = ram.allocate(16, 16, 4);
      const status = ram.allocate(1, 16, 3);
      const parts = [2, 3, 4].map((region) => ram.allocate(512, 16, region));
      header.bytes.set(headerBytes(IN, 1));
      const pieces = parts.map((part) => writable(part));
      assert.equal(await driver.run([readable(header), ...pieces, writable(status)]), 1537);
      assert.equal(status.bytes[0], Status.OK);
      const data = Buffer.concat(parts.map(({ bytes }) => bytes));
      assertSameBytes(data, content.subarray(512, 2048), 'data read');
    });

    test('data that runs out of the last region gets IOERR', { skip }, async () => {
      const content = patternBytes(MIB);
      await using disk = await ServedDisk.start({ engine, content });
      const ram = new GuestRam(plan);
      const connection = await disk.connectRings({ ram });
      using driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
      const [header, status] = [ram.allocate(16), ram.allocate(1)];
      header.bytes.set(headerBytes(OUT, 0));
      const data = { guestAddress: 3 * MIB + 4096 - 512, length: 1024, writable: false };
      await driver.run([readable(header), data, writable(status)]);
      assert.equal(status.bytes[0], Status.IOERR);
      assertSameBytes(disk.readImage(), content, 'image');
    });
  });
}
