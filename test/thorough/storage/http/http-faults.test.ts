/** Web servers that cannot do it, fail, or have another file all of a sudden. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { type HttpParameters, http } from '../../../../src/storage/index.ts';
import { OpenedDisk } from '../../../support/opened-disk.ts';
import { RangeServer, type RangeServerOptions } from '../../../support/range-server.ts';
import { assertSameBytes, patternBytes } from '../../../support/request-bytes.ts';

const MIB = 2 ** 20;
const CONTENT = Buffer.from(patternBytes(MIB));
const ETAG = '"one"';
const DATE = 'Sat, 21 Nov 2026 10:00:00 GMT';

async function start(
  t: TestContext,
  options: Partial<RangeServerOptions> = {},
): Promise<RangeServer> {
  const server = await RangeServer.start({ etag: ETAG, content: CONTENT, ...options });
  t.after(() => server[Symbol.asyncDispose]());
  return server;
}

async function open(
  t: TestContext,
  url: string,
  parameters: Omit<HttpParameters, 'url'> = {},
): Promise<OpenedDisk> {
  const disk = await OpenedDisk.open(http(url, { readAhead: 0, ...parameters }));
  t.after(() => disk[Symbol.asyncDispose]());
  return disk;
}

suite('web servers that are refused', () => {
  const answers: [
    name: string,
    options: Partial<RangeServerOptions>,
    code: string,
    message: RegExp,
  ][] = [
    [
      'no ranges',
      { onRequest: (_, response) => Boolean(response.end(CONTENT)) },
      'DISK_REMOTE',
      /does not do range requests/,
    ],
    [
      'not there',
      { onRequest: (_, response) => Boolean(response.writeHead(404).end()) },
      'DISK_REMOTE',
      /404 Not Found/,
    ],
    ['an empty file', { content: Buffer.alloc(0) }, 'DISK_EMPTY', /no bytes/],
    [
      'no size',
      { headers: { 'content-range': 'bytes 0-0/*' } },
      'DISK_REMOTE',
      /how large the file is/,
    ],
    ['no range', { headers: { 'content-range': 'all' } }, 'DISK_REMOTE', /how large the file is/],
    [
      'another range',
      { headers: { 'content-range': 'bytes 1-1/1048576' } },
      'DISK_REMOTE',
      /another range/,
    ],
    ['compressed', { headers: { 'content-encoding': 'gzip' } }, 'DISK_REMOTE', /encoded \(gzip\)/],
    [
      'redirects in a circle',
      { onRequest: (_, r) => Boolean(r.writeHead(302, { location: '/disk.img' }).end()) },
      'DISK_REMOTE',
      /more than 5 redirects/,
    ],
    [
      'a redirect to a file',
      { onRequest: (_, r) => Boolean(r.writeHead(302, { location: 'file:///etc/passwd' }).end()) },
      'DISK_REMOTE',
      /file:, which is not followed/,
    ],
  ];
  for (const [name, options, code, message] of answers) {
    test(name, async (t) => {
      const server = await start(t, options);
      await assert.rejects(open(t, server.url), { code, message });
    });
  }

  test('nobody there', async (t) => {
    const refused = open(t, 'http://127.0.0.1:1/x');
    await assert.rejects(refused, { code: 'DISK_REMOTE', message: /ECONNREFUSED/ });
  });

  test('something that is no URL of the web', async (t) => {
    for (const url of ['disk.img', 'ftp://host/x', 'http://']) {
      await assert.rejects(open(t, url), { code: 'DISK_OPTION' });
    }
  });

  test('passwords are in no message', async (t) => {
    const url = 'http://user:secret@127.0.0.1:1/x?token=hidden';
    await assert.rejects(open(t, url), (error: Error) => !/secret|hidden/.test(error.message));
  });
});

suite('files that change on a web server', () => {
  const identities: [name: string, before: Partial<RangeServerOptions>, after: object][] = [
    ['known by its ETag', { etag: ETAG }, { etag: '"two"' }],
    ['known by its date', { etag: undefined, lastModified: DATE }, { lastModified: `${DATE} ` }],
    ['known by a weak ETag', { etag: 'W/"one"' }, { etag: 'W/"two"' }],
    ['known by its size', { etag: undefined }, { content: Buffer.alloc(MIB + 512) }],
  ];
  for (const [name, before, after] of identities) {
    test(`${name}: reads fail, with a line in the log`, async (t) => {
      const server = await start(t, before);
      const disk = await open(t, server.url);
      assertSameBytes(await disk.read(0, 4096), CONTENT.subarray(0, 4096), 'before');
      const options = { ...server.options, content: Buffer.alloc(MIB), ...after };
      server.options = name.includes('date')
        ? { ...options, lastModified: 'Sat, 21 Nov 2026 11:00:00 GMT' }
        : options;
      await assert.rejects(disk.read(MIB / 2, 4096), { code: 'EIO' });
      assert.match(disk.log.join('\n'), /error: .*has changed on the server/);
      // For good, whatever comes after.
      server.options = { content: CONTENT, ...before };
      await assert.rejects(disk.read(3 * 65_536, 4096), { code: 'EIO' });
    });
  }

  test('it has become smaller', async (t) => {
    const server = await start(t, { etag: undefined });
    const disk = await open(t, server.url);
    server.options = { content: Buffer.alloc(512) };
    await assert.rejects(disk.read(MIB / 2, 4096), { code: 'EIO' });
  });

  test('the server has lost its ranges', async (t) => {
    let hasRanges = true;
    const server = await start(t, {
      onRequest: (_, response) => !hasRanges && Boolean(response.end(CONTENT)),
    });
    const disk = await open(t, server.url);
    hasRanges = false;
    await assert.rejects(disk.read(0, 4096), { code: 'EIO' });
  });
});

suite('web servers that fail for a while', () => {
  type Fault = NonNullable<RangeServerOptions['onRequest']>;
  const half: Fault = (_, response, [from, to]) => {
    response.writeHead(206, {
      'content-range': `bytes ${from}-${to - 1}/${MIB}`,
      'content-length': to - from,
    });
    response.write(CONTENT.subarray(from, (from + to) / 2), () => response.destroy());
    return true;
  };
  const short: Fault = (_, response, [from]) => {
    response.writeHead(206, { 'content-range': `bytes ${from}-${from + 99}/${MIB}` });
    response.end(CONTENT.subarray(from, from + 100));
    return true;
  };
  const faults: [name: string, fault: Fault][] = [
    ['500', (_, response) => Boolean(response.writeHead(500).end())],
    ['503, with a wish', (_, r) => Boolean(r.writeHead(503, { 'retry-after': '0.1' }).end())],
    ['429', (_, response) => Boolean(response.writeHead(429).end())],
    ['a connection that breaks', (request) => Boolean(request.socket.destroy())],
    ['half of a range', half],
    ['less than was asked for', short],
  ];
  for (const [name, fault] of faults) {
    test(`${name}: is asked again`, async (t) => {
      let count = -1;
      const server = await start(t, {
        onRequest: (...request) => count >= 0 && count++ < 3 && fault(...request),
      });
      const disk = await open(t, server.url);
      count = 0;
      const found = await Promise.all([disk.read(0, 65_536), disk.read(MIB / 2, 65_536)]);
      assertSameBytes(found[0], CONTENT.subarray(0, 65_536), 'first');
      assertSameBytes(found[1], CONTENT.subarray(MIB / 2, MIB / 2 + 65_536), 'second');
      assert.ok(count >= 3);
    });
  }

  test('half of a range is not asked for again', async (t) => {
    let isBad = false;
    const server = await start(t, {
      onRequest(...request) {
        if (!isBad) return false;
        isBad = false;
        return half(...request);
      },
    });
    const disk = await open(t, server.url);
    isBad = true;
    assertSameBytes(await disk.read(0, 65_536), CONTENT.subarray(0, 65_536), 'read');
    assert.deepEqual(server.ranges.slice(1), [
      [0, 65_536],
      [32_768, 65_536],
    ]);
  });

  const ends: [name: string, fault: Fault][] = [
    ['errors without end', faults[0][1]],
    ['silence', () => true],
    [
      'a byte now and then',
      (_, response, [from, to]) => {
        response.writeHead(206, { 'content-range': `bytes ${from}-${to - 1}/${MIB}` });
        const timer = setInterval(() => response.write('x'), 20);
        response.on('close', () => clearInterval(timer));
        return true;
      },
    ],
    [
      'a wish for next week',
      (_, r) => Boolean(r.writeHead(503, { 'retry-after': '604800' }).end()),
    ],
    [
      'more than it says',
      (_, response, [from, to]) => {
        response.writeHead(206, { 'content-range': `bytes ${from}-${to - 1}/${MIB}` });
        response.end(Buffer.alloc(2 * MIB));
        return true;
      },
    ],
  ];
  for (const [name, fault] of ends) {
    test(`${name}: a read fails in time`, async (t) => {
      let isBad = false;
      const server = await start(t, { onRequest: (...request) => isBad && fault(...request) });
      const disk = await open(t, server.url, { timeout: 2 });
      isBad = true;
      const startMs = performance.now();
      await assert.rejects(disk.read(0, 4096), { code: 'EIO' });
      assert.ok(performance.now() - startMs < 20_000);
      isBad = false;
      assertSameBytes(await disk.read(0, 4096), CONTENT.subarray(0, 4096), 'later');
    });
  }

  test('redirects are followed, and found again when they lead elsewhere', async (t) => {
    const first = await start(t);
    const second = await start(t);
    let target = first;
    const door = await start(t, {
      onRequest: (_, response) => Boolean(response.writeHead(307, { location: target.url }).end()),
    });
    const disk = await open(t, door.url);
    await disk.read(0, 4096);
    assert.deepEqual([door.ranges.length, first.ranges.length], [1, 2]);
    first.options = {
      ...first.options,
      onRequest: (_, response) => Boolean(response.writeHead(403).end()),
    };
    target = second;
    assertSameBytes(
      await disk.read(MIB / 2, 512),
      CONTENT.subarray(MIB / 2, MIB / 2 + 512),
      'read',
    );
    assert.equal(second.ranges.length, 1);
  });

  const losses: [name: string, lose: (mirror: RangeServer) => void | Promise<void>][] = [
    [
      'refuses',
      (mirror) => {
        const onRequest: Fault = (_, response) => Boolean(response.writeHead(403).end());
        mirror.options = { ...mirror.options, onRequest };
      },
    ],
    [
      'fails',
      (mirror) => {
        const onRequest: Fault = (_, response) => Boolean(response.writeHead(500).end());
        mirror.options = { ...mirror.options, onRequest };
      },
    ],
    [
      'hangs up',
      (mirror) => {
        mirror.options = { ...mirror.options, onRequest: half };
      },
    ],
    ['is gone', (mirror) => mirror[Symbol.asyncDispose]()],
  ];
  for (const [name, lose] of losses) {
    test(`a mirror that ${name}: where it was found, another is`, async (t) => {
      const mirror = await RangeServer.start({ etag: ETAG, content: CONTENT });
      const other = await start(t);
      let target = mirror.url;
      const door = await start(t, {
        onRequest: (_, response) => Boolean(response.writeHead(302, { location: target }).end()),
      });
      const disk = await open(t, door.url);
      await disk.read(0, 4096);
      target = other.url;
      await lose(mirror);
      if (name !== 'is gone') t.after(() => mirror[Symbol.asyncDispose]());
      // Several at a time: one finds out when the others have asked already.
      const places = [2, 5, 8, 11].map((block) => block * 65_536);
      const found = await Promise.all(places.map((at) => disk.read(at, 512)));
      found.forEach((bytes, index) => {
        const at = places[index];
        assertSameBytes(bytes, CONTENT.subarray(at, at + 512), `read at ${at}`);
      });
    });
  }

  test('a user and password are sent, and not to other servers', async (t) => {
    const seen: (string | undefined)[] = [];
    const note: Fault = (request) => {
      seen.push(request.headers.authorization);
      return false;
    };
    const target = await start(t, { onRequest: note });
    const door = await start(t, {
      onRequest(request, response) {
        seen.push(request.headers.authorization);
        const location = request.url === '/disk.img' ? `/other` : target.url;
        return Boolean(response.writeHead(302, { location }).end());
      },
    });
    await open(t, door.url.replace('http://', 'http://user:secret@'));
    const basic = `Basic ${Buffer.from('user:secret').toString('base64')}`;
    assert.deepEqual(seen, [basic, basic, undefined]);
  });
});
