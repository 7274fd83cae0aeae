/** The command line of `blkio-copy`: libblkio's, and what vhostkit adds. */
import { type Command, Option } from 'commander';
import { driverNames } from '../blkio/index.ts';
import type { EndpointSpec } from './copy/copy-endpoint.ts';
import { parseAssignment } from './device-arguments.ts';
import { byteCount, integer, oneOf, option, path } from './option-values.ts';
import { newCommand, UsageError } from './program.ts';

const PROGRESS_CHOICES = ['auto', 'on', 'off'] as const;
const DEVICE_OPTIONS = ['--input-blkio', '--output-blkio'];
const MAX_DEPTH = 128;
const MAX_BLOCK_BYTES = 4 * 1024 * 1024;
/** Blocks of it are aligned for every device. */
const MIN_BLOCK_BYTES = 65536;

/** What the program is asked to do. */
export interface BlkioCopyConfig {
  readonly input: EndpointSpec;
  readonly output: EndpointSpec;
  readonly depth: number;
  readonly blockBytes: number;
  readonly verify: boolean;
  readonly targetIsZero: boolean;
  readonly progress: (typeof PROGRESS_CHOICES)[number];
}

const NOTES = `
A device is a driver (${driverNames.join(', ')}) and its properties, in one word
(io_uring,path=disk.img,direct=true) or in several (io_uring path=disk.img direct=true).

The output is overwritten from its start. What it has behind the input's end is left as it is.`;

function deviceOption(flags: string, description: string): Option {
  return new Option(`${flags} <device...>`, description);
}

/** The command with its options, for parsing and for `--help`. */
export function createCommand(version: string): Command {
  const description = 'Copy a block device or file to another.';
  const command = newCommand('blkio-copy', description, version).addHelpText('after', NOTES);
  const options = [
    deviceOption('--input-blkio', 'the device to copy from'),
    option('--input-file <path>', 'the file to copy from', path),
    deviceOption('--output-blkio', 'the device to copy to'),
    option('--output-file <path>', 'the file to copy to; made if missing', path),
    option('--iodepth <n>', 'pieces under way', integer(1, MAX_DEPTH)).default(16),
    option(
      '--blocksize <bytes>',
      'bytes of a piece; one of zeros becomes a hole',
      byteCount(MIN_BLOCK_BYTES, MAX_BLOCK_BYTES),
    ).default(131072),
    new Option('--target-is-zero', 'the output holds zeros: skip what is zero in the input'),
    new Option('--verify', 'read both sides back and compare'),
    option('--progress <when>', PROGRESS_CHOICES.join(', '), oneOf(PROGRESS_CHOICES)).default(
      'auto',
    ),
  ];
  for (const each of options) command.addOption(each);
  return command;
}

/** `--input-blkio=x` as two words: commander gives an option more values in that form only. */
export function separateDevices(argv: readonly string[]): string[] {
  return argv.flatMap((word) => {
    const name = DEVICE_OPTIONS.find((option) => word.startsWith(`${option}=`));
    return name === undefined ? [word] : [name, word.slice(name.length + 1)];
  });
}

/** Parsed values as commander names them. */
interface RawOptions {
  readonly inputBlkio?: readonly string[];
  readonly inputFile?: string;
  readonly outputBlkio?: readonly string[];
  readonly outputFile?: string;
  readonly iodepth: number;
  readonly blocksize: number;
  readonly targetIsZero?: boolean;
  readonly verify?: boolean;
  readonly progress: BlkioCopyConfig['progress'];
}

function endpoint(
  side: 'input' | 'output',
  blkio: readonly string[] | undefined,
  file: string | undefined,
): EndpointSpec {
  if ((blkio === undefined) === (file === undefined)) {
    throw new UsageError(`give either --${side}-blkio or --${side}-file`);
  }
  if (blkio === undefined) return { kind: 'file', path: file ?? '' };
  const [first, ...words] = blkio;
  const [driver, ...parts] = first.split(',');
  const assignments = [...parts, ...words].map(parseAssignment);
  return { kind: 'blkio', device: { driver, assignments } };
}

/** What a parsed command line asks for. @throws UsageError. */
export function configOf(command: Command): BlkioCopyConfig {
  const raw = command.opts<RawOptions>();
  return {
    input: endpoint('input', raw.inputBlkio, raw.inputFile),
    output: endpoint('output', raw.outputBlkio, raw.outputFile),
    depth: raw.iodepth,
    blockBytes: raw.blocksize,
    verify: raw.verify ?? false,
    targetIsZero: raw.targetIsZero ?? false,
    progress: raw.progress,
  };
}
