/** The command line of `blkio-bench`: libblkio's, and what vhostkit adds. */
import type { Command } from 'commander';
import { Option } from 'commander';
import { driverNames } from '../blkio/index.ts';
import { type BenchPlan, buffersBytes } from './bench/bench-device.ts';
import { READ_WRITE_MODES, type ReadWriteMode } from './bench/bench-plan.ts';
import {
  type DeviceArguments,
  isAssigned,
  parseAssignment,
  withDefault,
} from './device-arguments.ts';
import { byteCount, decimal, integer, oneOf, option } from './option-values.ts';
import { newCommand, UsageError } from './program.ts';

const OUTPUTS = ['text', 'json'] as const;
const MAX_THREADS = 256;
const MAX_DEPTH = 4096;
const MAX_BLOCK_BYTES = 64 * 1024 * 1024;
const MAX_RUNTIME_S = 1_000_000;
const MAX_RATE = 1_000_000_000;
/** What all buffers may take up. */
const MAX_BUFFER_BYTES = 1024 ** 3;
/** The property that says how many requests a queue takes at a time, by driver, and its default. */
const DEPTH_PROPERTIES: Readonly<Record<string, readonly [name: string, usual: number]>> = {
  io_uring: ['num-entries', 128],
  // Each request takes up to three descriptors.
  'virtio-blk-vhost-user': ['queue-size', 256 / 4],
};

/** What the program is asked to do. */
export interface BlkioBenchConfig {
  readonly output: (typeof OUTPUTS)[number];
  readonly plan: BenchPlan;
}

const NOTES = `
All threads use one device. A thread with one queue sleeps while it waits, a thread with several
keeps its processor busy.

Writing destroys what is on the device.`;

/** The command with its options, for parsing and for `--help`. */
export function createCommand(version: string): Command {
  const command = newCommand('blkio-bench', 'Measure the speed of a block device.', version)
    .argument('<driver>', driverNames.join(', '))
    .argument('[property=value...]', 'properties to set')
    .addHelpText('after', NOTES);
  const options = [
    option('--num-threads <n>', 'threads', integer(1, MAX_THREADS)).default(1),
    option('--num-queues <n>', 'queues, shared out to threads (default: one each)', (text) =>
      integer(1, MAX_THREADS)(text),
    ),
    option('--iodepth <n>', 'requests of a queue under way', integer(1, MAX_DEPTH)).default(1),
    option('--readwrite <mode>', READ_WRITE_MODES.join(', '), oneOf(READ_WRITE_MODES)).default(
      'read',
    ),
    option('--rwmixread <percent>', 'reads of a mixed load', integer(0, 100)).default(50),
    option('--rate-iops <n>', 'requests a second of all queues together', integer(1, MAX_RATE)),
    option('--blocksize <bytes>', 'bytes of a request', byteCount(1, MAX_BLOCK_BYTES)).default(
      4096,
    ),
    option('--runtime <seconds>', 'how long', decimal(0, MAX_RUNTIME_S)).default(30),
    new Option('--poll', 'use poll queues: look for completions, never sleep'),
    option('--output <format>', 'text or json', oneOf(OUTPUTS)).default('text'),
  ];
  for (const each of options) command.addOption(each);
  return command;
}

/** Parsed values as commander names them. */
interface RawOptions {
  readonly numThreads: number;
  readonly numQueues?: number;
  readonly iodepth: number;
  readonly readwrite: ReadWriteMode;
  readonly rwmixread: number;
  readonly rateIops?: number;
  readonly blocksize: number;
  readonly runtime: number;
  readonly poll?: boolean;
  readonly output: BlkioBenchConfig['output'];
}

function readPercentOf({ readwrite, rwmixread }: RawOptions): number {
  const mode = readwrite.replace('rand', '');
  if (mode === 'read') return 100;
  return mode === 'write' ? 0 : rwmixread;
}

/** The device with what the load makes sensible, unless the user has said otherwise. */
function tune(given: DeviceArguments, depth: number, readPercent: number): DeviceArguments {
  const device = readPercent === 100 ? withDefault(given, 'read-only', 'true') : given;
  const property = DEPTH_PROPERTIES[given.driver];
  if (property === undefined || depth <= property[1]) return device;
  const [name, usual] = property;
  const factor = name === 'queue-size' ? 256 / usual : 1;
  return withDefault(device, name, String(2 ** Math.ceil(Math.log2(depth * factor))));
}

/** What a parsed command line asks for. @throws UsageError. */
export function configOf(command: Command): BlkioBenchConfig {
  const raw = command.opts<RawOptions>();
  const [driver, words] = command.processedArgs as [string, string[]];
  const given = { driver, assignments: words.map(parseAssignment) };
  for (const name of ['num-queues', 'num-poll-queues']) {
    if (isAssigned(given, name)) throw new UsageError(`give --num-queues instead of ${name}`);
  }
  const readPercent = readPercentOf(raw);
  const { iodepth: depth, blocksize: blockBytes } = raw;
  const device = tune(given, depth, readPercent);
  const queues = raw.numQueues ?? raw.numThreads;
  if (queues < raw.numThreads) {
    throw new UsageError(`--num-queues ${queues}: each of ${raw.numThreads} threads needs one`);
  }
  const load = {
    random: raw.readwrite.startsWith('rand'),
    ...{ readPercent, blockBytes, depth },
    runtimeMs: raw.runtime * 1000,
    rate: (raw.rateIops ?? 0) / queues,
  };
  const allBytes = queues * buffersBytes(load);
  if (allBytes > MAX_BUFFER_BYTES) {
    const remedy = 'less --iodepth, --blocksize or --num-queues';
    throw new UsageError(`buffers of ${allBytes} bytes: ${remedy}`);
  }
  const plan = { device, load, poll: raw.poll ?? false, threads: raw.numThreads, queues };
  return { output: raw.output, plan };
}
