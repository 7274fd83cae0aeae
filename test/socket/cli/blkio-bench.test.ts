/** blkio-bench on a file and on a served disk. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runProgram } from '../../support/blkio-programs.ts';
import { ServedDisk } from '../../support/served-disk.ts';

const SIZE_BYTES = 4 * 1024 * 1024;

type Result = Record<string, number>;

async function bench(
  ...args: readonly string[]
): Promise<{ aggregate: Result; threads: Result[] }> {
  const run = await runProgram('blkio-bench', '--output=json', '--runtime=0.3', ...args);
  assert.deepEqual([run.code, run.stderr], [0, '']);
  return JSON.parse(run.stdout) as { aggregate: Result; threads: Result[] };
}

test('JSON has libblkio’s fields, of all threads and of each', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: SIZE_BYTES });
  const file = ['io_uring', `path=${disk.imagePath}`, 'locking=false'];
  const mixed = ['--readwrite=randrw', '--rwmixread=75', '--iodepth=4'];
  const { aggregate, threads } = await bench('--num-threads=2', ...mixed, ...file);
  assert.equal(threads.length, 2);
  for (const result of [aggregate, ...threads]) {
    const { kiops, gips, min_lat_us, mean_lat_us, max_lat_us } = result;
    assert(kiops > 0 && Math.abs(gips - (kiops * 1000 * 4096) / 1024 ** 3) < 0.01);
    assert(0 < min_lat_us && min_lat_us <= mean_lat_us && mean_lat_us <= max_lat_us);
    assert(result.p50_lat_us <= result.p90_lat_us && result.p99_lat_us <= result.p99_9_lat_us);
    assert(result.min_completions >= 1 && result.max_completions <= 4);
    assert.equal(result.completions, result.reads + result.writes);
    assert(result.calls > 0);
  }
  const share = aggregate.reads / aggregate.completions;
  assert(aggregate.completions < 1000 || (share > 0.7 && share < 0.8), `${share} reads`);
  assert.equal(aggregate.completions, threads[0].completions + threads[1].completions);
});

test('a served disk is driven by several queues and threads, polled or not, and is written to', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: SIZE_BYTES });
  const socket = ['virtio-blk-vhost-user', `path=${disk.socketPath}`];
  for (const options of [[], ['--num-queues=3'], ['--poll'], ['--poll', '--num-queues=2']]) {
    const write = ['--readwrite=write', '--blocksize=64K', '--iodepth=3'];
    const { aggregate, threads } = await bench(...options, ...write, ...socket);
    assert.equal(threads.length, 1);
    assert(aggregate.writes > 0 && aggregate.reads === 0, options.join(' '));
  }
  for (const options of [[], ['--num-queues=5'], ['--poll']]) {
    const { aggregate, threads } = await bench('--num-threads=2', ...options, ...socket);
    assert.equal(threads.length, 2);
    assert(threads[0].reads > 0 && threads[1].reads > 0, options.join(' '));
    assert.equal(aggregate.writes, 0);
  }
  assert(disk.readImage(0, 65536).some((byte) => byte !== 0));
});

test('the rate is kept', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: SIZE_BYTES });
  const socket = ['virtio-blk-vhost-user', `path=${disk.socketPath}`];
  for (const queues of ['--num-queues=1', '--num-queues=2']) {
    const limits = ['--rate-iops=200', '--iodepth=4'];
    const { completions } = (await bench(queues, ...limits, ...socket)).aggregate;
    // 60 in 0.3 s; a machine may be too busy, but nothing makes it more.
    assert(completions > 0 && completions <= 62, `${completions} with ${queues}`);
  }
});

test('people get a rate, percentiles and a histogram', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: SIZE_BYTES });
  const file = ['io_uring', `path=${disk.imagePath}`, 'locking=false'];
  const { stdout } = await runProgram('blkio-bench', '--runtime=0.2', ...file);
  assert.match(stdout, /^rate {6}\d+ requests\/s, [\d.]+ [MG]iB\/s$/m);
  assert.match(stdout, /p50 [\d.]+ us, p90 .*, p99 .*, p99\.9 /);
  assert.match(stdout, /^ {2}below +\d+ us +[\d.]+ % {2}#+$/m);
});

test('what is wrong is one line, and the exit code says whose fault it is', async () => {
  await using disk = await ServedDisk.start({ sizeBytes: SIZE_BYTES });
  const file = ['io_uring', `path=${disk.imagePath}`, 'locking=false'];
  const cases: readonly (readonly [code: number, reason: RegExp, args: readonly string[]])[] = [
    [2, /missing required argument 'driver'/, []],
    [2, /unknown driver "nvme"/, ['nvme', 'path=x']],
    [2, /unknown property "color"/, [...file, 'color=red']],
    [2, /unknown option '--frobnicate'/, ['--frobnicate', ...file]],
    [2, /--poll: the driver io_uring has no poll queues/, ['--poll', ...file]],
    [2, /--blocksize 8388608: the device has only 4194304 bytes/, ['--blocksize=8M', ...file]],
    [1, /no such file/, ['io_uring', 'path=/nonexistent/image']],
    [1, /100 queues: 0 to 8/, ['--num-queues=100', 'virtio-blk-vhost-user', socketOf(disk)]],
  ];
  for (const [code, reason, args] of cases) {
    const run = await runProgram('blkio-bench', ...args);
    assert.match(run.stderr, /^blkio-bench: [^\n]+\n$/);
    assert.match(run.stderr, reason);
    assert.deepEqual([run.code, run.stdout], [code, ''], args.join(' '));
  }
});

function socketOf(disk: ServedDisk): string {
  return `path=${disk.socketPath}`;
}
