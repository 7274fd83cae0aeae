/** blkio-info on a file and on a served disk. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runProgram } from '../../support/blkio-programs.ts';
import { ServedDisk } from '../../support/served-disk.ts';

const SIZE_BYTES = 16 * 1024 * 1024;

test('values are printed one a line, in the order asked for', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: SIZE_BYTES });
  const socket = ['virtio-blk-vhost-user', `path=${disk.socketPath}`];
  const run = await runProgram('blkio-info', ...socket, 'capacity', 'read-only', 'max-queues');
  assert.deepEqual(run, { code: 0, stdout: `${SIZE_BYTES}\nfalse\n8\n`, stderr: '' });
  const later = await runProgram('blkio-info', ...socket, 'num-queues=3', 'num-queues', 'path');
  assert.deepEqual(later, { code: 0, stdout: `3\n${disk.socketPath}\n`, stderr: '' });
  const tooMany = await runProgram('blkio-info', ...socket, 'num-queues=9');
  assert.match(tooMany.stderr, /^blkio-info: 9 queues: 0 to 8 are possible/);
  assert.equal(tooMany.code, 2);
});

test('JSON has values of the properties’ types', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: SIZE_BYTES });
  const file = ['io_uring', `path=${disk.imagePath}`, 'read-only=true', 'locking=false'];
  const wanted = ['capacity', 'read-only', 'driver', 'request-alignment'];
  const { code, stdout } = await runProgram('blkio-info', '--output=json', ...file, ...wanted);
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout), {
    capacity: SIZE_BYTES,
    'read-only': true,
    driver: 'io_uring',
    'request-alignment': 1,
  });
});

test('without a property to print all are listed, with what they mean', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: SIZE_BYTES });
  const socket = ['virtio-blk-vhost-user', `path=${disk.socketPath}`];
  const { stdout } = await runProgram('blkio-info', '--output=json', ...socket);
  const all = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual(all.capacity, {
    value: SIZE_BYTES,
    type: 'uint64',
    access: 'r',
    description: 'Size of the device, in bytes.',
  });
  const text = (await runProgram('blkio-info', ...socket)).stdout;
  for (const name of Object.keys(all)) assert.match(text, new RegExp(`^${name} `, 'm'));
});

test('what is wrong is one line, and the exit code says whose fault it is', async () => {
  const cases: readonly (readonly [code: number, reason: RegExp, args: readonly string[]])[] = [
    [2, /missing required argument 'driver'/, []],
    [2, /unknown driver "nvme"; known: io_uring/, ['nvme']],
    [2, /unknown property "color"/, ['io_uring', 'color']],
    [2, /unknown property "color"/, ['io_uring', 'color=red']],
    [2, /"maybe" is no value of type bool/, ['io_uring', 'direct=maybe']],
    [2, /capacity is read-only/, ['io_uring', 'capacity=1']],
    [2, /one of text, json/, ['--output=xml', 'io_uring']],
    [1, /no such file/, ['io_uring', 'path=/nonexistent/image']],
    [1, /either the property path or the property fd/, ['io_uring']],
    [1, /no such file/, ['virtio-blk-vhost-user', 'path=/nonexistent/socket']],
  ];
  for (const [code, reason, args] of cases) {
    const run = await runProgram('blkio-info', ...args);
    assert.match(run.stderr, /^blkio-info: [^\n]+\n$/);
    assert.match(run.stderr, reason);
    assert.deepEqual([run.code, run.stdout], [code, ''], args.join(' '));
  }
});
