/** The filter log, and the replay of what it has written. */
import assert from 'node:assert/strict';
import { openSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { LogObject } from '../../../../src/storage/filters/log/log-object.ts';
import { readTrace } from '../../../../src/storage/filters/log/read-trace.ts';
import type { TraceRecord } from '../../../../src/storage/filters/log/trace-record.ts';
import { TraceWriter } from '../../../../src/storage/filters/log/trace-writer.ts';
import {
  copyOnWrite,
  type DiskAccess,
  type DiskLike,
  file,
  log,
  openAccess,
  openDisk,
  parseDisk,
  readonly,
  type StorageError,
} from '../../../../src/storage/index.ts';
import { ObjectDisk } from '../../../../src/storage/object/object-disk.ts';
import { replayTrace } from '../../../../src/storage/tools.ts';
import { silentLogger } from '../../../../src/sys/index.ts';
import { CrashClock, CrashingDisk, ioError } from '../../../support/crashing-disk.ts';
import { compareWithModel } from '../../../support/filter-model.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { seededRandom } from '../../../support/power-loss.ts';

const SIZE_BYTES = 2 ** 20;

function place(t: TestContext): { image: string; trace: string } {
  const folder = imageFolder(t);
  const image = join(folder, 'disk.img');
  writeFileSync(image, Buffer.alloc(SIZE_BYTES, 1));
  return { image, trace: join(folder, 'trace') };
}

async function withDisk(plan: DiskLike, use: (access: DiskAccess) => unknown): Promise<void> {
  const disk = await openDisk(plan);
  const access = openAccess(disk);
  await use(access);
  access.close();
  await disk.close();
}

async function fewRequests(access: DiskAccess): Promise<void> {
  await Promise.all([
    access.write(new Uint8Array(4096), 8192, { stable: true }),
    access.read(new Uint8Array(512), 0),
  ]);
  await access.writeZeroes(4096, 512, { mayUnmap: true });
  await access.discard(0, 512);
  await access.flush();
}

test('a trace for programs has each request, with what came of it', async (t) => {
  const { image, trace } = place(t);
  await withDisk(log(file(image), { file: trace, format: 'json' }), fewRequests);
  const { records, sizeBytes, lost } = readTrace(trace);
  assert.equal(sizeBytes, SIZE_BYTES);
  assert.equal(lost, 0);
  assert.deepEqual(
    records.map(({ n, op, offset, length, flags, result }) => [
      n,
      op,
      offset,
      length,
      flags,
      result,
    ]),
    [
      [0, 'write', 8192, 4096, ['stable'], 'ok'],
      [1, 'read', 0, 512, [], 'ok'],
      [2, 'zero', 4096, 512, ['unmap'], 'ok'],
      [3, 'discard', 0, 512, [], 'ok'],
      [4, 'flush', 0, 0, [], 'ok'],
    ],
  );
  records.reduce((before, { at }) => {
    assert(at >= before);
    return at;
  }, 0);
});

test('a trace that was cut off within a line is gone on with, and says what is missing', async (t) => {
  const { image, trace } = place(t);
  const run = (): Promise<void> =>
    withDisk(log(readonly(file(image)), { file: trace, format: 'json' }), async (access) => {
      for (let n = 0; n < 3; n++) await access.read(new Uint8Array(512), n * 512);
    });
  for (let round = 0; round < 3; round++) {
    await run();
    truncateSync(trace, statSync(trace).size - 20);
    const { records, lost } = readTrace(trace);
    assert.deepEqual([records.length, lost], [2 * (round + 1), round + 1]);
  }
  await run();
  const { records, lost } = readTrace(trace);
  assert.deepEqual([records.length, lost], [9, 3]);
  assert.doesNotMatch(readFileSync(trace, 'utf8'), /\n\n/, 'there is no line too many');
});

test('a trace for people has a line for each request', async (t) => {
  const { image, trace } = place(t);
  await withDisk(log(file(image), { file: trace }), fewRequests);
  const lines = readFileSync(trace, 'utf8').trimEnd().split('\n');
  assert.equal(lines.length, 6);
  assert.match(lines[0], /^20\S+Z trace of a disk of 1048576 bytes$/);
  const write = lines.find((line) => line.includes('write'));
  assert.match(write ?? '', /^20\S+Z write 4096 bytes at 8192 stable: ok, \d+ us, depth \d$/);
  assert.match(lines[5], /Z flush: ok, \d+ us, depth 1$/);
});

test('the disk is as the one below', async (t) => {
  const { image, trace } = place(t);
  const model = readFileSync(image);
  const random = seededRandom(1);
  const disk = await openDisk(log(file(image), { file: trace, format: 'json' }));
  await compareWithModel(disk, model, { random, batches: 100 });
  await disk.close();
  assert.ok(readFileSync(image).equals(model));
  const plain = await openDisk(readonly(file(image)));
  const logged = await openDisk(log(readonly(file(image)), { file: trace }));
  assert.deepEqual(logged.info, { ...plain.info, writeBack: false });
  await logged.close();
  await plain.close();
});

test('errors, durations and the number of requests under way are those of the disk', async () => {
  const clock = new CrashClock();
  const below = new CrashingDisk(Buffer.alloc(SIZE_BYTES), { clock, random: seededRandom(1) });
  const records: TraceRecord[] = [];
  const sink = { add: (record: TraceRecord) => void records.push(record), useLogger() {} };
  const object = new LogObject(below, { ...sink, close: async () => {} }, 'log');
  const access = openAccess(new ObjectDisk(object));
  below.fault = () => {
    throw ioError();
  };
  const reads = [0, 1, 2].map(async (index) => access.read(new Uint8Array(512), index * 512));
  for (const { status } of await Promise.allSettled(reads)) assert.equal(status, 'rejected');
  assert.deepEqual(
    records.map(({ result }) => result),
    ['EIO', 'EIO', 'EIO'],
  );
  assert.deepEqual(records.map(({ depth }) => depth).sort(), [1, 2, 3]);
});

test('a full disk loses lines, says how many, and fails no request', async () => {
  const lines: string[] = [];
  const writer = new TraceWriter(openSync('/dev/full', 'w'), (lost) => `${lost} lost`);
  writer.logger = { ...silentLogger, warn: (line) => void lines.push(line) };
  for (let index = 0; index < 1000; index++) writer.add('x'.repeat(500));
  await writer.close();
  assert(writer.lostLines >= 1000, `${writer.lostLines} lines are lost`);
  assert.equal(lines.length, 1);
  assert.match(lines[0], /ENOSPC/);
});

test('lines that there is no memory for are counted in the trace', async (t) => {
  const { trace } = place(t);
  const writer = new TraceWriter(openSync(trace, 'w'), (lost) => `${lost} lost`);
  for (let index = 0; index < 10_000; index++) writer.add('x'.repeat(1000));
  await writer.close();
  const text = readFileSync(trace, 'utf8').trimEnd().split('\n');
  const kept = text.filter((line) => line.startsWith('x')).length;
  const lost = text
    .filter((line) => line.endsWith(' lost'))
    .map((line) => Number.parseInt(line, 10));
  assert(kept < 5000 && kept > 3000, `${kept} lines`);
  assert.equal(kept + lost.reduce((sum, each) => sum + each, 0), 10_000);
});

async function record(t: TestContext): Promise<{ image: string; trace: string }> {
  const { image, trace } = place(t);
  const model = readFileSync(image);
  const disk = await openDisk(log(file(image), { file: trace, format: 'json' }));
  await compareWithModel(disk, model, { random: seededRandom(3), batches: 40 });
  await disk.close();
  return { image, trace };
}

for (const pace of ['fast', 'recorded'] as const) {
  test(`a trace is done again on another disk, at the pace "${pace}"`, async (t) => {
    const { image, trace } = await record(t);
    const again = `${trace}-again`;
    let progress = 0;
    const target = log(copyOnWrite(file(image)), { file: again, format: 'json' });
    const report = await replayTrace(trace, target, {
      ...{ pace, mayWrite: true },
      onProgress: (done) => {
        progress = done;
      },
    });
    const [first, second] = [readTrace(trace).records, readTrace(again).records];
    const named = (records: readonly TraceRecord[]): string[] =>
      records.map(({ op, offset, length, flags }) => `${op} ${offset} ${length} ${flags}`).sort();
    assert.deepEqual(named(second), named(first));
    assert.equal(report.requests, first.length);
    assert.equal(progress, first.length);
    assert.deepEqual(report.otherResults, []);
    assert(report.latency.max >= report.latency.p50 && report.latency.p50 > 0);
    // From the first arrival to the last.
    const arrivals = first.map(({ at }) => at);
    const lastsUs = Math.max(...arrivals) - Math.min(...arrivals);
    if (pace === 'recorded') assert(report.seconds * 1e6 > 0.8 * lastsUs);
  });
}

test('a replay says which requests have ended otherwise', async (t) => {
  const { image, trace } = await record(t);
  const text = readFileSync(trace, 'utf8').split('\n');
  const index = text.findIndex((line) => line.includes('"op":"read"'));
  text[index] = text[index].replace('"ok"', '"EIO"');
  writeFileSync(trace, text.join('\n'));
  const report = await replayTrace(trace, copyOnWrite(file(image)), { mayWrite: true });
  assert.deepEqual(
    report.otherResults.map(({ record: { op, result: before }, result }) => [op, before, result]),
    [['read', 'EIO', 'ok']],
  );
});

test('a replay leaves a disk open that was open before, and closes what it has opened', async (t) => {
  const { image, trace } = await record(t);
  let closed = 0;
  const object = {
    sizeBytes: SIZE_BYTES,
    read() {},
    write() {},
    close: () => {
      closed += 1;
    },
  };
  const open = await openDisk(object);
  await replayTrace(trace, open, { mayWrite: true });
  assert.equal(closed, 0);
  await open.close();
  await replayTrace(trace, object, { mayWrite: true });
  assert.equal(closed, 2);
  // Its file is not locked any more.
  await replayTrace(trace, file(image), { mayWrite: true });
  await replayTrace(trace, file(image), { mayWrite: true });
});

test('a replay with an impossible depth is refused', async (t) => {
  const { image, trace } = await record(t);
  for (const depth of [0, -1, 1.5, Number.NaN]) {
    const replay = replayTrace(trace, file(image), { depth, mayWrite: true });
    await assert.rejects(replay, { code: 'DISK_OPTION', message: /depth is .*: expected a whole/ });
  }
});

test('a trace that writes needs leave to, and a disk that is large enough', async (t) => {
  const { image, trace } = await record(t);
  const before = readFileSync(image);
  await assert.rejects(replayTrace(trace, file(image)), { code: 'DISK_OPTION' });
  truncateSync(image, 8192);
  const small = replayTrace(trace, file(image), { mayWrite: true });
  await assert.rejects(small, /it needs a disk of \d+ bytes, this one has 8192/);
  assert.ok(readFileSync(image).equals(before.subarray(0, 8192)));
});

const WRONG: readonly [string, RegExp][] = [
  ['', /it has no header/],
  ['2026 read\n', /line 1: it is no line of a trace in JSON/],
  ['{"trace":"vhostkit","sizeBytes":512}\n{"n":\n{"n":\n', /line 2: it is no line of a trace/],
  ['{"trace":"vhostkit","sizeBytes":512}\n{"n":\n', /line 2: it is no line of a trace/],
  ['{"trace":"vhostkit","sizeBytes":-1}\n', /line 1: sizeBytes is -1/],
  ['{"trace":"vhostkit","sizeBytes":512}\n{"op":"explode"}\n', /line 2: op is "explode"/],
  [
    '{"trace":"vhostkit","sizeBytes":512}\n{"op":"read","flags":["x"],"result":"ok"}',
    /line 2: flags/,
  ],
  [
    '{"trace":"vhostkit","sizeBytes":512}\n{"op":"read","flags":[],"result":"ok","n":1.5}',
    /n is 1.5/,
  ],
];

for (const [content, problem] of WRONG) {
  test(`a trace that is ${JSON.stringify(content)} is refused`, async (t) => {
    const { image, trace } = place(t);
    writeFileSync(trace, content);
    await assert.rejects(replayTrace(trace, file(image)), (error: StorageError) => {
      return error.code === 'DISK_FORMAT' && problem.test(error.message);
    });
  });
}

test('a format or a file that is impossible is refused', async (t) => {
  const { image } = place(t);
  assert.throws(() => parseDisk(`log(file(${image}), format=xml)`), { code: 'DISK_OPTION' });
  const nowhere = openDisk(log(file(image), { file: '/nowhere/trace' }));
  await assert.rejects(nowhere, { code: 'DISK_OPEN_FAILED' });
});
