/** The disk `http` with web servers that others have written, and with TLS. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { http } from '../../src/storage/index.ts';
import { imageFolder } from '../support/image-folder.ts';
import { nbdRequirements } from '../support/nbd-peer.ts';
import { OpenedDisk } from '../support/opened-disk.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { ServedDisk } from '../support/served-disk.ts';
import { makeCertificates } from '../support/test-certificates.ts';
import { missing, noBusybox, startWebServer, type WebServerName } from '../support/web-server.ts';

const MIB = 2 ** 20;
const CONTENT = patternBytes(4 * MIB);

/** Serve a folder with `disk.img`; the image's URL and path. */
async function serveImage(
  t: TestContext,
  server: WebServerName,
): Promise<{ url: string; path: string }> {
  const folder = imageFolder(t);
  const path = join(folder, 'disk.img');
  writeFileSync(path, CONTENT);
  return { url: `${await startWebServer(t, server, folder)}/disk.img`, path };
}

suite('http with the servers of others', () => {
  test('busybox: random and sequential reads', { skip: noBusybox() }, async (t) => {
    const { url } = await serveImage(t, 'busybox');
    await using disk = await OpenedDisk.open(http(url, { cacheSize: MIB }));
    const places = Array.from({ length: 200 }, (_, index) => (index * 7919) % 8000);
    await Promise.all(
      places.map(async (sector) => {
        const found = await disk.read(sector * 512, 8192);
        assertSameBytes(found, CONTENT.subarray(sector * 512, sector * 512 + 8192), `${sector}`);
      }),
    );
    for (let at = 0; at < CONTENT.length; at += 32_768) {
      const found = await disk.read(at, 32_768);
      assertSameBytes(found, CONTENT.subarray(at, at + 32_768), `at ${at}`);
    }
    assert.deepEqual(disk.log, []);
  });

  test('busybox: an image that is written under the disk', { skip: noBusybox() }, async (t) => {
    const { url, path } = await serveImage(t, 'busybox');
    await using disk = await OpenedDisk.open(http(url, { readAhead: 0 }));
    await disk.read(0, 4096);
    // Dates of files are told in seconds.
    await sleep(1100);
    writeFileSync(path, patternBytes(4 * MIB, 2));
    await assert.rejects(disk.read(MIB, 4096), { code: 'EIO' });
    assert.match(disk.log.join('\n'), /has changed on the server/);
  });

  test('busybox: a guest’s disk', { skip: noBusybox() }, async (t) => {
    const { url } = await serveImage(t, 'busybox');
    await using served = await ServedDisk.start({ args: [`--disk=http(${url})`] });
    const driver = await served.connect();
    for (let sector = 0; sector < 8192; sector += 64) {
      const expected = CONTENT.subarray(sector * 512, (sector + 64) * 512);
      assertSameBytes(await driver.read(sector, 64), expected, `sector ${sector}`);
    }
  });

  const noPython = missing('python3', 'python3');
  test('python: no ranges, which is refused', { skip: noPython }, async (t) => {
    const { url } = await serveImage(t, 'python');
    const message = /does not do range requests/;
    await assert.rejects(OpenedDisk.open(http(url)), { code: 'DISK_REMOTE', message });
  });
});

suite('http with TLS', () => {
  test('only who is who he says he is', { skip: nbdRequirements('openssl') }, async (t) => {
    const folder = imageFolder(t);
    await makeCertificates(folder);
    const server = createSecureServer(
      {
        key: readFileSync(join(folder, 'server-key.pem')),
        cert: readFileSync(join(folder, 'server-cert.pem')),
      },
      ({ headers }, response) => {
        const [, first, last] = /bytes=(\d+)-(\d+)/.exec(headers.range ?? '') ?? [];
        const range = `bytes ${first}-${last}/${CONTENT.length}`;
        response.writeHead(206, { 'content-range': range });
        response.end(CONTENT.subarray(Number(first), Number(last) + 1));
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const tlsCa = join(folder, 'ca-cert.pem');
    const right = `https://localhost:${port}/x`;
    await assert.rejects(OpenedDisk.open(http(right)), { message: /certificate/ });
    const wrong = http(`https://127.0.0.1:${port}/x`, { tlsCa });
    await assert.rejects(OpenedDisk.open(wrong), { message: /does not match/ });
    await using disk = await OpenedDisk.open(http(right, { tlsCa }));
    assertSameBytes(await disk.read(0, MIB), CONTENT.subarray(0, MIB), 'read');
  });
});
