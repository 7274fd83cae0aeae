/** The command line of the benchmark. */
import { Command, InvalidArgumentError } from 'commander';

export interface BenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  /** Only media and workloads whose names match. */
  readonly media: RegExp;
  readonly workloads: RegExp;
  readonly peers: RegExp;
  /** Where files on a real disk, and results, go. */
  readonly folder: string;
  readonly output: string;
  /** Measure vhostkit with packed rings, too. */
  readonly packed: boolean;
  readonly sizeMib: number;
  /** Server and client on a processor each. */
  readonly pin: boolean;
}

function positive(text: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('It must be a positive number.');
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new InvalidArgumentError('It must be a regular expression.');
  }
}

/** Parse the arguments behind the program's name. Ends the process on --help or an error. */
export function parseBenchOptions(argv: readonly string[], defaultFolder: string): BenchOptions {
  const command = new Command('npm run bench --')
    .description('Compare vhostkit with qemu-storage-daemon, and with fio on the bare file.')
    .option('--rounds <n>', 'rounds; the peers take turns in each', positive, 5)
    .option('--seconds <n>', 'length of one run', positive, 1)
    .option(
      '--media <pattern>',
      'only parts that match: tmpfs, cached, direct, luks, qcow2, null, object, footprint',
      pattern,
      /./,
    )
    .option(
      '--workloads <pattern>',
      'only workloads that match, e.g. "randread .* 32$"',
      pattern,
      /./,
    )
    .option('--peers <pattern>', 'only peers that match: vhostkit, qemu, fio', pattern, /./)
    .option('--packed', 'add vhostkit with packed rings, as one more peer', false)
    .option('--size-mib <n>', 'size of the disk', positive, 512)
    .option('--no-pin', 'let the scheduler place server and client')
    .option('--folder <path>', 'a folder on the disk to measure', defaultFolder)
    .option('--output <path>', 'write the results as JSON', `${defaultFolder}/results.json`);
  command.parse(argv, { from: 'user' });
  return command.opts<BenchOptions>();
}
