/** Images whose size is no multiple of 512 bytes: the last sector is there in part. */
import assert from 'node:assert/strict';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CACHE_MODES, openFileDisk } from '../../../src/storage/index.ts';
import { Errno } from '../../../src/sys/index.ts';
import { DiskSession, ENGINES } from '../../support/disk-session.ts';
import { imageFolder } from '../../support/image-folder.ts';

for (const { engine, skip } of ENGINES) {
  for (const cache of CACHE_MODES) {
    const where = `${engine}, cache=${cache}`;

    for (const fileBytes of [1, 511, 513, 1000, 4096 + 100, 8192 - 1]) {
      test(`${where}: an image of ${fileBytes} bytes ends in zeros`, { skip }, (t) => {
        const path = join(imageFolder(t), 'image');
        const content = Buffer.alloc(fileBytes, 'x');
        writeFileSync(path, content);
        using session = new DiskSession(openFileDisk({ path, cache }), engine);
        const { sizeBytes } = session.disk.info;
        assert.equal(sizeBytes, Math.ceil(fileBytes / 512) * 512);
        const padded = Buffer.alloc(sizeBytes);
        content.copy(padded);
        assert.deepEqual(session.read(0, sizeBytes), padded);
        assert.deepEqual(session.read(sizeBytes - 512, 512), padded.subarray(-512));
        // At an odd address, which direct I/O can't reach: by a buffer, with something else in it.
        session.read(0, 512, 1001);
        assert.deepEqual(session.read(sizeBytes - 512, 512, 1001), padded.subarray(-512));
        assert.equal(statSync(path).size, fileBytes, 'reading changes nothing');
      });
    }

    test(`${where}: writing to the part sector completes the file`, { skip }, (t) => {
      const path = join(imageFolder(t), 'image');
      writeFileSync(path, Buffer.alloc(1000, 'x'));
      using session = new DiskSession(openFileDisk({ path, cache }), engine);
      assert.equal(session.write(512, Buffer.alloc(512, 'y')), 0);
      assert.equal(session.flush(), 0);
      const expected = Buffer.concat([Buffer.alloc(512, 'x'), Buffer.alloc(512, 'y')]);
      assert.deepEqual(readFileSync(path), expected);
      assert.deepEqual(session.read(0, 1024), expected);
    });

    test(`${where}: zeroing the part sector leaves no old bytes`, { skip }, (t) => {
      const path = join(imageFolder(t), 'image');
      writeFileSync(path, Buffer.alloc(1000, 'x'));
      using session = new DiskSession(openFileDisk({ path, cache }), engine);
      assert.equal(session.writeZeroes(512, 512), 0);
      const expected = Buffer.alloc(1024).fill('x', 0, 512);
      assert.deepEqual(session.read(0, 1024), expected);
      assert.ok(
        readFileSync(path)
          .subarray(512)
          .every((byte) => byte === 0),
      );
    });

    test(`${where}: what a file has lost cannot be read`, { skip }, (t) => {
      const path = join(imageFolder(t), 'image');
      writeFileSync(path, Buffer.alloc(65536, 'x'));
      using session = new DiskSession(openFileDisk({ path, cache }), engine);
      truncateSync(path, 5000);
      const expected = Buffer.alloc(5120).fill('x', 0, 5000);
      // With and without a buffer in between, for direct I/O.
      for (const at of [0, 1001]) {
        assert.deepEqual(session.read(0, 4096, at), expected.subarray(0, 4096));
        assert.deepEqual(session.read(0, 5120, at), expected, 'the last sector is whole');
        assert.equal(session.read(0, 65536, at), -Errno.EIO, 'zeros would be a lie');
        assert.equal(session.read(5120, 512, at), -Errno.EIO);
        assert.equal(session.read(32768, 4096, at), -Errno.EIO);
      }
      assert.deepEqual(session.read(0, 4096), expected.subarray(0, 4096), 'the rest is served');
      truncateSync(path, 65536);
      assert.deepEqual(session.read(32768, 4096), Buffer.alloc(4096));
    });
  }
}
