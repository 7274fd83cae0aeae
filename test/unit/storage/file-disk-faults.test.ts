/** I/O that fails: the request gets a negative errno, and the next ones are served. */
import assert from 'node:assert/strict';
import { openSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  CACHE_MODES,
  DiskFlag,
  FileDisk,
  type FileDiskHandle,
  openFileDisk,
} from '../../../src/storage/index.ts';
import { closeAll, Errno, Fd } from '../../../src/sys/index.ts';
import { DiskSession, ENGINES } from '../../support/disk-session.ts';
import {
  cannotLoop,
  cannotMount,
  ext4On,
  loopDevice,
  smallTmpfs,
} from '../../support/host-file-systems.ts';
import { imageFolder } from '../../support/image-folder.ts';

const MIB = 2 ** 20;
const noMount = cannotMount();
const noLoop = noMount || cannotLoop();

function sparseFile(folder: string, sizeBytes: number): string {
  const path = join(folder, 'image');
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

/** Write everywhere until it fails; the first failure's result. */
function writeUntilFailure(session: DiskSession, sizeBytes: number, flags = 0): number {
  const data = Buffer.alloc(65536, 'w');
  for (let offset = 0; offset < sizeBytes; offset += data.length) {
    const result = session.write(offset, data, flags);
    if (result !== 0) return result;
  }
  return 0;
}

/** A disk that ran full is of use again: reads, and writes once there is room. */
function assertServesAgain(session: DiskSession): void {
  assert.deepEqual(session.read(0, 65536), Buffer.alloc(65536, 'w'));
  assert.equal(session.write(0, Buffer.alloc(65536, 'v')), 0, 'what is there can be changed');
  assert.equal(session.discard(131072, MIB), 0);
  assert.equal(session.flush(), 0);
  const other = Buffer.alloc(65536, 'u');
  assert.equal(session.write(131072, other), 0, 'room that was made is used');
  assert.deepEqual(session.read(131072, 65536), other);
}

function smallExt4(t: TestContext): string {
  const backing = join(imageFolder(t), 'backing');
  writeFileSync(backing, Buffer.alloc(4 * MIB));
  return ext4On(t, backing);
}

for (const { engine, skip } of ENGINES) {
  for (const cache of CACHE_MODES) {
    const where = `${engine}, cache=${cache}`;
    const stable = cache === 'writethrough' ? DiskFlag.STABLE : 0;

    test(`${where}: a full tmpfs gives ENOSPC`, { skip: skip || noMount }, (t) => {
      const path = sparseFile(smallTmpfs(t, 2 * MIB), 8 * MIB);
      using session = new DiskSession(openFileDisk({ path, cache }), engine);
      assert.equal(writeUntilFailure(session, 8 * MIB, stable), -Errno.ENOSPC);
      assertServesAgain(session);
    });

    test(`${where}: a full ext4 gives ENOSPC`, { skip: skip || noLoop }, (t) => {
      const path = sparseFile(smallExt4(t), 16 * MIB);
      using session = new DiskSession(openFileDisk({ path, cache }), engine);
      assert.equal(writeUntilFailure(session, 16 * MIB, stable), -Errno.ENOSPC);
      assertServesAgain(session);
    });
  }

  test(`${engine}: a device that can't read gives EIO`, { skip: skip || noLoop }, (t) => {
    const path = join(imageFolder(t), 'backing');
    writeFileSync(path, Buffer.alloc(MIB, 'w'));
    const device = loopDevice(t, path, { directIo: true });
    using session = new DiskSession(openFileDisk({ path: device, cache: 'none' }), engine);
    // The device does not know of it.
    truncateSync(path, MIB / 2);
    assert.equal(session.read(MIB - 65536, 65536), -Errno.EIO);
    assert.equal(session.read(MIB - 65536, 65536, 1001), -Errno.EIO);
    assert.deepEqual(session.read(0, 65536), Buffer.alloc(65536, 'w'));
  });

  test(`${engine}: what a device has no room for fails`, { skip: skip || noLoop }, (t) => {
    // The device promises 8 MiB, what it is made of has room for two.
    const device = loopDevice(t, sparseFile(smallTmpfs(t, 2 * MIB), 8 * MIB));
    using session = new DiskSession(openFileDisk({ path: device, cache: 'none' }), engine);
    const result = writeUntilFailure(session, 8 * MIB);
    assert.ok(result === -Errno.ENOSPC || result === -Errno.EIO, `result ${result}`);
    assert.deepEqual(session.read(0, 65536), Buffer.alloc(65536, 'w'));
    assert.equal(session.write(0, Buffer.alloc(65536, 'v')), 0);
  });

  test(`${engine}: what can't be written back fails the flush`, { skip: skip || noLoop }, (t) => {
    const device = loopDevice(t, sparseFile(smallTmpfs(t, 2 * MIB), 8 * MIB));
    using session = new DiskSession(openFileDisk({ path: device }), engine);
    assert.equal(writeUntilFailure(session, 8 * MIB), 0, 'the cache takes it all');
    const result = session.flush();
    assert.ok(result === -Errno.ENOSPC || result === -Errno.EIO, `result ${result}`);
    assert.deepEqual(session.read(0, 65536), Buffer.alloc(65536, 'w'));
  });

  for (const apart of [true, false]) {
    const flushes = apart ? 'flushes apart' : 'flushes by the same';
    test(`${engine}: a descriptor that forbids it gives EBADF, ${flushes}`, { skip }, (t) => {
      const path = join(imageFolder(t), 'image');
      writeFileSync(path, Buffer.alloc(65536, 'x'));
      const fd = new Fd(openSync(path, 'r'), path);
      const flushFd = apart ? new Fd(openSync(path, 'r'), path) : fd;
      const close = (): void => closeAll(apart ? [fd, flushFd] : [fd]);
      const disk = new FileDisk(handleOf(path, fd.number, flushFd.number), close);
      using session = new DiskSession(disk, engine);
      assert.equal(session.write(0, Buffer.alloc(4096)), -Errno.EBADF);
      assert.equal(session.write(0, Buffer.alloc(512)), -Errno.EBADF);
      assert.equal(session.discard(0, 4096), -Errno.EBADF);
      assert.equal(session.writeZeroes(0, 4096), -Errno.EBADF);
      assert.equal(session.writeZeroes(0, 4096, DiskFlag.UNMAP), -Errno.EBADF);
      assert.deepEqual(session.read(0, 4096), Buffer.alloc(4096, 'x'));
      assert.equal(session.flush(), 0);
      assert.equal(session.write(0, Buffer.alloc(4096), DiskFlag.STABLE), -Errno.EBADF);
      // It may have taken away the report of a write-back that failed.
      assert.equal(session.flush(), apart ? 0 : -Errno.EBADF);
    });
  }
}

function handleOf(path: string, fd: number, flushFd: number): FileDiskHandle {
  return {
    kind: 'file',
    path,
    info: { ...infoOf(path), readOnly: false },
    description: path,
    fd,
    flushFd,
    flushFailure: new SharedArrayBuffer(4),
    isBlockDevice: false,
    access: 'page-cache',
    mutex: new SharedArrayBuffer(4),
  };
}

function infoOf(path: string) {
  const disk = openFileDisk({ path });
  const { info } = disk;
  disk.close();
  return info;
}
