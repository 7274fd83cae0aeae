/** Reading disks from a web server: what is asked for, and what is kept. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type HttpParameters, http } from '../../../../src/storage/index.ts';
import { eventually } from '../../../support/eventually.ts';
import { OpenedDisk } from '../../../support/opened-disk.ts';
import { propertyOptions } from '../../../support/property-options.ts';
import { RangeServer, type RangeServerOptions } from '../../../support/range-server.ts';
import { assertSameBytes, patternBytes } from '../../../support/request-bytes.ts';

const MIB = 2 ** 20;
const BLOCK = 65_536;
const ETAG = '"one"';

interface Opened {
  readonly server: RangeServer;
  readonly disk: OpenedDisk;
}

async function opened(
  t: TestContext,
  options: Partial<RangeServerOptions> = {},
  parameters: Omit<HttpParameters, 'url'> = {},
): Promise<Opened> {
  const content = options.content ?? Buffer.from(patternBytes(4 * MIB));
  const server = await RangeServer.start({ etag: ETAG, ...options, content });
  t.after(() => server[Symbol.asyncDispose]());
  const disk = await OpenedDisk.open(http(server.url, parameters));
  t.after(() => disk[Symbol.asyncDispose]());
  // The one that the size is known by.
  server.ranges.splice(0);
  return { server, disk };
}

suite('the disk http', () => {
  test('is read-only, of the size of the file', async (t) => {
    const { disk } = await opened(t);
    const { sizeBytes, readOnly } = disk.disk.info;
    assert.deepEqual([sizeBytes, readOnly], [4 * MIB, true]);
    assert.match(disk.disk.description, /^http:.*disk.img, 4194304 bytes, known by its ETag$/);
    assert.match(disk.disk.needsOutside ?? '', /over the network/);
  });

  test('random reads at the same time, with a cache that is too small', async (t) => {
    const { server, disk } = await opened(t, {}, { cacheSize: 5 * BLOCK, readAhead: 4 * BLOCK });
    const { content } = server.options;
    const place = fc.record({ at: fc.nat(8191), sectors: fc.integer({ min: 1, max: 400 }) });
    const batch = fc.array(place, { minLength: 1, maxLength: 8 });
    const read = async ({ at, sectors }: { at: number; sectors: number }): Promise<void> => {
      const offset = at * 512;
      const length = Math.min(sectors * 512, 4 * MIB - offset);
      const expected = content.subarray(offset, offset + length);
      assertSameBytes(await disk.read(offset, length), expected, `${length} at ${offset}`);
    };
    await fc.assert(
      fc.asyncProperty(batch, async (places) => {
        await Promise.all(places.map(read));
      }),
      propertyOptions(60),
    );
  });

  test('a file of odd size: the rest of its last sector reads as zeros', async (t) => {
    const content = Buffer.alloc(BLOCK + 700, 7);
    const { disk } = await opened(t, { content });
    assert.equal(disk.disk.info.sizeBytes, BLOCK + 1024);
    const found = await disk.read(BLOCK - 512, 1536);
    assert.deepEqual(found, Buffer.alloc(1536).fill(7, 0, 1212));
  });

  test('neighbouring blocks come with one request, and are asked for once', async (t) => {
    const { server, disk } = await opened(t);
    await disk.read(BLOCK - 512, 3 * BLOCK);
    assert.deepEqual(server.ranges, [[0, 4 * BLOCK]]);
    await disk.read(0, 4 * BLOCK);
    assert.equal(server.ranges.length, 1);
    await disk.read(3 * MIB, MIB + 0);
    assert.deepEqual(server.ranges.at(-1), [3 * MIB, 4 * MIB]);
  });

  test('what is on its way is waited for, not asked for again', async (t) => {
    const held: (() => void)[] = [];
    let isHolding = false;
    const onRequest: RangeServerOptions['onRequest'] = (request, response, range) => {
      if (!isHolding) return false;
      held.push(() => server.send(request, response, range));
      return true;
    };
    const { server, disk } = await opened(t, { onRequest }, { readAhead: 0 });
    isHolding = true;
    const reads = [disk.read(0, 4096), disk.read(4096, 4096), disk.read(512, 2 * BLOCK)];
    await eventually('both requests', () => held.length === 2);
    for (const send of held) send();
    const found = await Promise.all(reads);
    assertSameBytes(found[2], server.options.content.subarray(512, 512 + 2 * BLOCK), 'read');
    assert.deepEqual(server.ranges, [
      [0, BLOCK],
      [BLOCK, 3 * BLOCK],
    ]);
  });

  test('the cache has a limit: what was used last is there', async (t) => {
    const { server, disk } = await opened(t, {}, { cacheSize: 4 * BLOCK, readAhead: 0 });
    for (const block of [0, 10, 20, 30, 0, 40, 50]) await disk.read(block * BLOCK, 512);
    assert.equal(server.ranges.length, 6);
    server.ranges.splice(0);
    for (const block of [0, 30, 40, 50]) await disk.read(block * BLOCK, 512);
    assert.deepEqual(server.ranges, []);
    await disk.read(10 * BLOCK, 512);
    assert.deepEqual(server.ranges, [[10 * BLOCK, 11 * BLOCK]]);
  });

  test('sequential reads are read ahead of', async (t) => {
    const { server, disk } = await opened(t, {}, { readAhead: MIB });
    for (let at = 0; at < 2 * MIB; at += 4096) await disk.read(at, 4096);
    const furthest = (): number => Math.max(...server.ranges.map(([, end]) => end));
    await eventually('reads in advance', () => furthest() > 2.4 * MIB);
    assert.ok(furthest() <= 3 * MIB + BLOCK, `as far as ${furthest()}`);
    const { length } = server.ranges;
    assert.ok(length < 12, `${length} requests`);
  });

  test('random reads are not', async (t) => {
    const { server, disk } = await opened(t);
    for (const block of [3, 7, 22, 41, 50]) await disk.read(block * BLOCK, 4096);
    assert.deepEqual(
      server.ranges.map(([start, end]) => end - start),
      [BLOCK, BLOCK, BLOCK, BLOCK, BLOCK],
    );
  });

  test('a read in advance that fails is nobody’s failure', async (t) => {
    let isBad = false;
    const { server, disk } = await opened(
      t,
      {
        onRequest(_request, response, [start]) {
          if (!isBad || start < MIB) return false;
          response.writeHead(404).end();
          return true;
        },
      },
      { readAhead: 2 * MIB },
    );
    isBad = true;
    for (let at = 0; at < MIB; at += BLOCK) await disk.read(at, BLOCK);
    await eventually('it reads ahead', () => server.ranges.some(([start]) => start >= MIB));
    isBad = false;
    assertSameBytes(
      await disk.read(MIB, BLOCK),
      server.options.content.subarray(MIB, MIB + BLOCK),
      '',
    );
  });

  test('connections are few, and kept', async (t) => {
    const { server, disk } = await opened(t, {}, { connections: 2, cacheSize: BLOCK });
    await Promise.all(Array.from({ length: 40 }, (_, block) => disk.read(block * BLOCK, 512)));
    assert.ok(server.ranges.length >= 40);
    assert.ok(server.connections <= 2, `${server.connections} connections`);
  });
});
