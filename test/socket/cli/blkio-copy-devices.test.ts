/** blkio-copy between block devices, and to and from back-ends that can do less, or go away. */
import assert from 'node:assert/strict';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { runProgram } from '../../support/blkio-programs.ts';
import { eventually } from '../../support/eventually.ts';
import { cannotLoop, loopDevice } from '../../support/host-file-systems.ts';
import { type CleanUp, imageFolder } from '../../support/image-folder.ts';
import { OwnDiskServer } from '../../support/own-disk-server.ts';
import { PlainDisk } from '../../support/plain-disk.ts';
import { assertSameBytes, patternBytes } from '../../support/request-bytes.ts';
import { RestartingServer } from '../../support/restarting-server.ts';
import { readFileAt, writeFileAt } from '../../support/served-disk.ts';

const MIB = 1024 * 1024;
const SIZE_BYTES = 8 * MIB;
const noLoop = cannotLoop();

function plainServer(content: Uint8Array): Promise<OwnDiskServer<PlainDisk>> {
  return OwnDiskServer.start(content, (image) => new PlainDisk(image));
}

async function copy(...args: readonly string[]): Promise<void> {
  const run = await runProgram('blkio-copy', ...args);
  assert.deepEqual(run, { code: 0, stdout: '', stderr: '' });
}

/** A file with 1 MiB of data at 3 MiB, and some at its end. */
function sparseFile(folder: string, sizeBytes = SIZE_BYTES): string {
  const path = join(folder, 'from');
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  writeFileAt(path, 3 * MIB, patternBytes(MIB, 1));
  writeFileAt(path, sizeBytes - 700, patternBytes(700, 2));
  return path;
}

interface LoopPlace {
  readonly device: string;
  /** The file under it. */
  readonly backing: string;
  readonly folder: string;
}

/** A block device that holds old data. */
function oldDevice(t: CleanUp, sectorBytes: number, sizeBytes = SIZE_BYTES): LoopPlace {
  const folder = imageFolder(t);
  const backing = join(folder, 'backing');
  writeFileSync(backing, patternBytes(sizeBytes, 9));
  return { device: loopDevice(t, backing, { sectorBytes }), backing, folder };
}

function bytesOf(device: string, lengthBytes: number, offsetBytes = 0): Uint8Array {
  return readFileAt(device, offsetBytes, lengthBytes);
}

suite('block devices', { skip: noLoop }, () => {
  for (const sectorBytes of [512, 4096]) {
    for (const direct of [false, true]) {
      test(`sectors of ${sectorBytes}, direct=${direct}: to one, and from one`, async (t) => {
        const { device, backing, folder } = oldDevice(t, sectorBytes);
        const from = sparseFile(folder);
        const back = join(folder, 'back');
        const spec = `io_uring,path=${device},direct=${direct}`;
        await copy(`--input-file=${from}`, `--output-blkio=${spec}`, '--verify');
        assertSameBytes(bytesOf(device, SIZE_BYTES), readFileSync(from), 'the device');
        // Its zeros were made without writing them.
        assert.ok(statSync(backing).blocks * 512 < 4 * MIB);
        await copy(`--input-blkio=${spec}`, `--output-file=${back}`, '--verify');
        assertSameBytes(readFileSync(back), readFileSync(from), 'the file');
        assert.ok(statSync(back).blocks * 512 < 3 * MIB, 'holes stay holes');
      });
    }
  }

  test('from one to another, with larger sectors', async (t) => {
    const [one, other] = [oldDevice(t, 512), oldDevice(t, 4096, SIZE_BYTES + MIB)];
    const [input, output] = [one, other].map(({ device }) => `io_uring,path=${device},direct=true`);
    writeFileAt(one.device, MIB, new Uint8Array(2 * MIB));
    await copy(`--input-blkio=${input}`, `--output-blkio=${output}`, '--verify');
    const content = bytesOf(one.device, SIZE_BYTES);
    assertSameBytes(bytesOf(other.device, SIZE_BYTES), content, 'the copy');
    const behind = patternBytes(SIZE_BYTES + MIB, 9).subarray(SIZE_BYTES);
    assertSameBytes(bytesOf(other.device, MIB, SIZE_BYTES), behind, 'what is behind it');
  });

  test('an input that ends within a sector is padded', async (t) => {
    const { device, folder } = oldDevice(t, 4096);
    const from = join(folder, 'from');
    writeFileSync(from, patternBytes(MIB + 100, 7));
    const output = `--output-blkio=io_uring,path=${device},direct=true`;
    await copy(`--input-file=${from}`, output, '--verify');
    assertSameBytes(bytesOf(device, MIB + 100), readFileSync(from), 'data');
    assertSameBytes(bytesOf(device, 3996, MIB + 100), new Uint8Array(3996), 'padding');
    const behind = patternBytes(SIZE_BYTES, 9).subarray(MIB + 4096, 2 * MIB);
    assertSameBytes(bytesOf(device, MIB - 4096, MIB + 4096), behind, 'the rest');
  });

  test('one that is too small, read-only, or in use: one line, and nothing is changed', async (t) => {
    const { device, folder } = oldDevice(t, 512, MIB);
    const from = sparseFile(folder);
    const input = `--input-file=${from}`;
    const readOnly = loopDevice(t, from, { readOnly: true });
    for (const [args, reason] of [
      [[input, `--output-file=${device}`], /has 1048576 bytes and cannot grow: the input has/],
      [[input, `--output-file=${readOnly}`], /the device is read-only/],
      [[`--input-file=${device}`, `--output-file=${device}`], /in use/],
    ] as const) {
      const run = await runProgram('blkio-copy', ...args);
      assert.match(run.stderr, /^blkio-copy: [^\n]+\n$/);
      assert.match(run.stderr, reason);
      assert.deepEqual([run.code, run.stdout], [1, '']);
    }
    assertSameBytes(bytesOf(device, MIB), patternBytes(MIB, 9), 'the device');
  });
});

suite('back-ends', () => {
  for (const blockBytes of [65536, 131072]) {
    test(`without write-zeroes: zeros are written, ${blockBytes} bytes at a time`, async (t) => {
      const from = sparseFile(imageFolder(t));
      await using server = await plainServer(patternBytes(SIZE_BYTES, 9));
      const output = `--output-blkio=virtio-blk-vhost-user,path=${server.socketPath}`;
      await copy(`--input-file=${from}`, output, `--blocksize=${blockBytes}`, '--verify');
      assertSameBytes(server.readImage(SIZE_BYTES), readFileSync(from), 'the image');
      assert.equal(server.disk.bytesWritten, SIZE_BYTES, 'each byte once');
    });
  }

  test('without write-zeroes, known to hold zeros: they are left out', async (t) => {
    const from = sparseFile(imageFolder(t));
    await using server = await plainServer(new Uint8Array(SIZE_BYTES));
    const output = `--output-blkio=virtio-blk-vhost-user,path=${server.socketPath}`;
    await copy(`--input-file=${from}`, output, '--target-is-zero', '--verify');
    assert.ok(server.disk.bytesWritten < 2 * MIB, `${server.disk.bytesWritten} bytes`);
  });
});

/** Enough for the server to be killed on the way, again and again. */
const LONG_BYTES = 64 * MIB;
const KILLS = 3;

suite('a server that is killed and started again while', () => {
  test('it is copied to: the copy ends well', async (t) => {
    const from = join(imageFolder(t), 'from');
    writeFileSync(from, patternBytes(LONG_BYTES, 3));
    // The copy has come a small part of its way when it is seen.
    const slow = (image: string): string => `--disk=throttle(file(${image}), bps-total=64M)`;
    await using server = await RestartingServer.start(LONG_BYTES, [], slow);
    const device = `virtio-blk-vhost-user,path=${server.socketPath},reconnect-ms=5`;
    const pace = ['--iodepth=1', '--blocksize=65536'];
    const end = copy(`--input-file=${from}`, `--output-blkio=${device}`, '--verify', ...pace);
    let failure: Error | undefined;
    end.catch((error: Error) => {
      failure = error;
    });
    for (let kill = 0; kill < KILLS; kill++) {
      const at = (LONG_BYTES / 32) * kill;
      await eventually('it has come so far', () => {
        if (failure !== undefined) throw failure;
        return server.readImage(at, 1)[0] !== 0;
      });
      await server.kill();
      assert.equal(server.readImage(LONG_BYTES - 1, 1)[0], 0, 'it is not done yet');
      await server.start();
    }
    await end;
    assertSameBytes(server.readImage(), readFileSync(from), 'the image');
  });
});
