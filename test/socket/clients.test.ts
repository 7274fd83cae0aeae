/** One client after another: whatever the last one did, the next is served. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { suite, test } from 'node:test';
import { RequestType, Status } from '../../src/virtio-blk/index.ts';
import { ChainDriver, headerBytes, readable, writable } from '../support/chain-driver.ts';
import { eventually } from '../support/eventually.ts';
import { missingDirectIo } from '../support/page-cache.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const BLOCK_BYTES = 128 * 1024;
const BLOCKS = 40;

/** Put writes of all blocks on a ring, and hang up before they can all be done. */
async function abandonWrites(disk: ServedDisk, data: Uint8Array): Promise<void> {
  const connection = await disk.connectRings({ numQueues: 2, queueSize: 256 });
  const { ram, queues } = connection;
  const status = ram.allocate(1);
  const buffers = Array.from({ length: BLOCKS }, () => ram.allocate(BLOCK_BYTES, 4096));
  {
    using even = new ChainDriver(connection, queues[0], disk.reactor);
    using odd = new ChainDriver(connection, queues[1], disk.reactor);
    buffers.forEach((buffer, index) => {
      buffer.bytes.set(data);
      const header = ram.allocate(16);
      header.bytes.set(headerBytes(RequestType.OUT, index * (BLOCK_BYTES / 512)));
      const driver = index % 2 === 0 ? even : odd;
      void driver.run([readable(header), readable(buffer), writable(status)]);
    });
  }
  connection.close();
}

for (const { engine, skip } of SERVER_ENGINES) {
  suite(`clients, ${engine}`, () => {
    test('each of many finds what the last one wrote, and no descriptor is left open', {
      skip,
    }, async () => {
      await using disk = await ServedDisk.start({ engine, args: ['--threads=2'] });
      const before = disk.server.openFds().length;
      let last: Uint8Array = new Uint8Array(4096);
      for (let index = 0; index < 20; index++) {
        const driver = await disk.connect({ numQueues: 1 + (index % 4) });
        assertSameBytes(await driver.read(8, 8), last, `client ${index}`);
        last = patternBytes(4096, index);
        await driver.write(8, last);
        driver.close();
        await disk.server.logged(new RegExp(`client ${index + 1} disconnected`));
      }
      await eventually('all descriptors are closed', () => disk.server.openFds().length === before);
    });

    test('a client that goes with requests under way leaves whole blocks', { skip }, async () => {
      const args = missingDirectIo() === false ? ['--cache=none'] : [];
      await using disk = await ServedDisk.start({ engine, args: ['--threads=2', ...args] });
      for (let round = 1; round <= 8; round++) {
        const before = disk.readImage().slice();
        const data = patternBytes(BLOCK_BYTES, round);
        await abandonWrites(disk, data);
        await disk.server.logged(new RegExp(`client ${2 * round - 1} disconnected`));
        const driver = await disk.connect();
        for (let index = 0; index < BLOCKS; index++) {
          const start = index * BLOCK_BYTES;
          const block = disk.readImage(start, BLOCK_BYTES);
          const isOld = Buffer.compare(block, before.subarray(start, start + BLOCK_BYTES)) === 0;
          if (!isOld) assertSameBytes(block, data, `block ${index}`);
          assertSameBytes(await driver.read(start / 512, 256), block, `block ${index}, read`);
        }
        driver.close();
      }
    });

    test('requests under way when the client hangs up are finished', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      let before: Uint8Array = new Uint8Array(4096);
      for (let round = 1; round <= 10; round++) {
        const driver = await disk.connect();
        const data = patternBytes(4096, round);
        // The server may be faster than the client's hanging up: then the write was a success.
        const outcome = driver.write(0, data).then(
          () => 'written',
          (error: Error) => error.message,
        );
        // In one go: the kick goes out before the connection ends.
        driver.close();
        const said = await outcome;
        await disk.server.logged(new RegExp(`client ${2 * round - 1} disconnected`));
        const again = await disk.connect();
        const back = await again.read(0, 8);
        again.close();
        const isOld = Buffer.compare(back, before) === 0;
        if (said === 'written') assert.ok(!isOld, 'a write that was said to be done is there');
        else assert.match(said, /closed/);
        if (!isOld) assertSameBytes(back, data, 'all or nothing');
        before = back;
      }
    });
  });

  suite(`several clients, ${engine}`, () => {
    test('a second client waits until the first has gone', { skip }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const first = await disk.connect();
      let isServed = false;
      const second = disk.connect().then((driver) => {
        isServed = true;
        return driver;
      });
      for (let round = 0; round < 200; round++) await first.write(round, patternBytes(512, round));
      assert.equal(isServed, false);
      first.close();
      const driver = await second;
      assertSameBytes(await driver.read(199, 1), patternBytes(512, 199), 'seen by the second');
      const flush = await driver.request({ type: RequestType.FLUSH });
      assert.equal(flush.status, Status.OK);
    });

    test('clients that talk nonsense, or half a message, or not at all, do no harm', {
      skip,
    }, async () => {
      await using disk = await ServedDisk.start({ engine });
      const before = disk.server.openFds().length;
      const nonsense = [
        new Uint8Array(0),
        Uint8Array.of(1, 0, 0, 0, 1, 0),
        Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
        new Uint8Array(5000).fill(0xff),
      ];
      for (const [index, bytes] of nonsense.entries()) {
        const socket = await connectPlain(disk.socketPath);
        if (bytes.length > 0) socket.write(bytes);
        socket.end();
        await new Promise((resolve) => socket.once('close', resolve));
        await disk.server.logged(new RegExp(`client ${index + 1} disconnected`));
      }
      await eventually('all descriptors are closed', () => disk.server.openFds().length === before);
      const driver = await disk.connect();
      assert.equal((await driver.read(0, 1)).length, 512);
    });
  });
}

async function connectPlain(path: string): Promise<Socket> {
  const socket = connect(path);
  // The server may close before all has been sent.
  socket.on('error', () => {});
  socket.resume();
  await once(socket, 'connect');
  return socket;
}
