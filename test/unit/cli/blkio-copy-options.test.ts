/** What a command line of blkio-copy asks for, and what is wrong with it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type BlkioCopyConfig,
  configOf,
  createCommand,
  separateDevices,
} from '../../../src/cli/blkio-copy-options.ts';
import { progressText, sizeText, timeText } from '../../../src/cli/copy/copy-progress.ts';
import { complaintOf } from '../../support/command-complaint.ts';

const FILES = ['--input-file=in', '--output-file=out'];

function parse(...argv: readonly string[]): BlkioCopyConfig {
  const command = createCommand('1').exitOverride();
  command.configureOutput({ writeErr: () => {} }).parse(separateDevices(argv), { from: 'user' });
  return configOf(command);
}

function complaint(...argv: readonly string[]): string {
  return complaintOf(() => parse(...argv), argv);
}

test('files are enough: the rest has defaults', () => {
  assert.deepEqual(parse(...FILES), {
    input: { kind: 'file', path: 'in' },
    output: { kind: 'file', path: 'out' },
    depth: 16,
    blockBytes: 131072,
    verify: false,
    targetIsZero: false,
    progress: 'auto',
  });
});

test('a device is written in one word or in several', () => {
  const assignments = [
    { name: 'path', text: 'a=b' },
    { name: 'direct', text: 'true' },
  ];
  const device = { kind: 'blkio', device: { driver: 'io_uring', assignments } };
  const forms = [
    ['--input-blkio', 'io_uring,path=a=b,direct=true'],
    ['--input-blkio=io_uring,path=a=b,direct=true'],
    ['--input-blkio=io_uring', 'path=a=b', 'direct=true'],
    ['--input-blkio', 'io_uring,path=a=b', 'direct=true'],
  ];
  for (const form of forms) {
    assert.deepEqual(parse(...form, '--output-file=out').input, device, form.join(' '));
    const output = form.map((word) => word.replace('--input', '--output'));
    assert.deepEqual(parse('--input-file=in', ...output).output, device, output.join(' '));
  }
});

test('a comma may be part of a path that is a word of its own', () => {
  const { input } = parse('--input-blkio=io_uring', 'path=a,b', '--output-file=out');
  assert(input.kind === 'blkio');
  assert.deepEqual(input.device.assignments, [{ name: 'path', text: 'a,b' }]);
});

test('what makes no sense is refused', () => {
  const cases: readonly (readonly [argv: readonly string[], reason: RegExp])[] = [
    [[], /give either --input-blkio or --input-file/],
    [['--input-file=in'], /give either --output-blkio or --output-file/],
    [[...FILES, '--input-blkio=io_uring'], /give either --input-blkio or --input-file/],
    [['--input-blkio=io_uring', 'path', '--output-file=out'], /"path" is not of the form/],
    [['--input-blkio=io_uring,', '--output-file=out'], /"" is not of the form/],
    [['--input-file=', '--output-file=out'], /must be a path/],
    [[...FILES, '--output-file=out'], /given twice/],
    [[...FILES, 'path=x'], /too many arguments/],
    [[...FILES, '--iodepth=0'], /from 1 to 128/],
    [[...FILES, '--blocksize=4096'], /from 65536 to 4194304/],
    [[...FILES, '--progress=yes'], /one of auto, on, off/],
  ];
  for (const [argv, reason] of cases) assert.match(complaint(...argv), reason, argv.join(' '));
});

test('progress tells how far, how fast, and how long still', () => {
  const text = progressText('copied', 1024 ** 3, 4 * 1024 ** 3, 10);
  assert.equal(text, 'copied 25 %, 1.0 GiB of 4.0 GiB, 102.4 MiB/s, 0:30 left');
  assert.equal(progressText('copied', 0, 512, 0), 'copied 0 %, 0 bytes of 512 bytes');
  assert.deepEqual([timeText(59.1), timeText(3599), timeText(3661)], ['1:00', '59:59', '1:01:01']);
  assert.deepEqual([sizeText(1023), sizeText(1536)], ['1023 bytes', '1.5 KiB']);
});
