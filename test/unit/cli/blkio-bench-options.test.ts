/** What a command line of blkio-bench asks for, and what is wrong with it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type BlkioBenchConfig,
  configOf,
  createCommand,
} from '../../../src/cli/blkio-bench-options.ts';
import { complaintOf } from '../../support/command-complaint.ts';

const FILE = ['io_uring', 'path=image'];
const SOCKET = ['virtio-blk-vhost-user', 'path=socket'];

function parse(...argv: readonly string[]): BlkioBenchConfig {
  const command = createCommand('1').exitOverride();
  command.configureOutput({ writeErr: () => {} }).parse(argv, { from: 'user' });
  return configOf(command);
}

function complaint(...argv: readonly string[]): string {
  return complaintOf(() => parse(...argv), argv);
}

test('the defaults are those of libblkio', () => {
  const { output, plan } = parse(...FILE);
  const { load, poll, threads, queues } = plan;
  assert.deepEqual([output, poll, threads, queues], ['text', false, 1, 1]);
  const expected = { random: false, readPercent: 100, blockBytes: 4096, depth: 1 };
  assert.deepEqual(load, { ...expected, runtimeMs: 30_000, rate: 0 });
});

test('modes say how requests follow each other and how many are reads', () => {
  const cases: readonly (readonly [string, boolean, number])[] = [
    ['read', false, 100],
    ['write', false, 0],
    ['rw', false, 70],
    ['readwrite', false, 70],
    ['randread', true, 100],
    ['randwrite', true, 0],
    ['randrw', true, 70],
  ];
  for (const [mode, random, readPercent] of cases) {
    const { load } = parse('--rwmixread=70', '--readwrite', mode, ...FILE).plan;
    assert.deepEqual([load.random, load.readPercent], [random, readPercent], mode);
  }
});

test('a load that only reads opens the device for reading, unless told otherwise', () => {
  const readOnly = (...argv: readonly string[]): (string | undefined)[] =>
    parse(...argv)
      .plan.device.assignments.filter(({ name }) => name === 'read-only')
      .map(({ text }) => text);
  assert.deepEqual(readOnly(...FILE), ['true']);
  assert.deepEqual(readOnly(...FILE, 'read-only=false'), ['false']);
  assert.deepEqual(readOnly('--readwrite=randrw', ...FILE), []);
});

test('there is a queue for each thread, unless there are more', () => {
  const { threads, queues } = parse('--num-threads=3', ...SOCKET).plan;
  assert.deepEqual([threads, queues], [3, 3]);
  const { plan } = parse('--num-threads=3', '--num-queues=8', '--rate-iops=80', ...FILE);
  assert.deepEqual([plan.threads, plan.queues], [3, 8]);
  assert.equal(plan.load.rate, 10, 'the rate is shared out to queues');
});

test('deep queues get the room they need', () => {
  const assigned = (...argv: readonly string[]): string[] =>
    parse('--readwrite=write', ...argv).plan.device.assignments.map(
      ({ name, text }) => `${name}=${text}`,
    );
  assert.deepEqual(assigned('--iodepth=128', ...FILE), ['path=image']);
  assert.deepEqual(assigned('--iodepth=129', ...FILE), ['path=image', 'num-entries=256']);
  assert.deepEqual(assigned('--iodepth=65', ...SOCKET), ['path=socket', 'queue-size=512']);
});

test('what makes no sense is refused', () => {
  const cases: readonly (readonly [argv: readonly string[], reason: RegExp])[] = [
    [[], /missing required argument 'driver'/],
    [['io_uring', 'path'], /"path" is not of the form property=value/],
    [['--num-threads=0', ...FILE], /from 1 to 256/],
    [['--iodepth=4097', ...FILE], /from 1 to 4096/],
    [['--readwrite=trim', ...FILE], /one of read, write, rw/],
    [['--rwmixread=101', ...FILE], /from 0 to 100/],
    [['--blocksize=4x', ...FILE], /a number of bytes from 1 to 67108864/],
    [['--blocksize=65M', ...FILE], /a number of bytes from 1 to 67108864/],
    [['--runtime=-1', ...FILE], /from 0 to 1000000/],
    [['--rate-iops=0', ...FILE], /from 1 to/],
    [['--output=xml', ...FILE], /one of text, json/],
    [['--runtime=1', '--runtime=2', ...FILE], /given twice/],
    [['--num-threads=3', '--num-queues=2', ...FILE], /each of 3 threads needs one/],
    [[...FILE, 'num-queues=2'], /give --num-queues instead of num-queues/],
    [['--iodepth=4096', '--blocksize=1M', ...FILE], /less --iodepth/],
  ];
  for (const [argv, reason] of cases) assert.match(complaint(...argv), reason, argv.join(' '));
});

test('sizes may have a unit, times a fraction', () => {
  const { load } = parse('--blocksize=64k', '--runtime=0.5', ...FILE).plan;
  assert.deepEqual([load.blockBytes, load.runtimeMs], [65536, 500]);
});
