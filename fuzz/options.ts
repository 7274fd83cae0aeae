/** The command line of the fuzzer. */
import { Command, Option } from 'commander';
import { integer, option, path } from '../src/cli/option-values.ts';

/** What the fuzzer is asked to do. */
export interface FuzzOptions {
  readonly seed: string;
  readonly cases: number | undefined;
  readonly seconds: number;
  /** Files with cases to carry out, and nothing else. */
  readonly replay: readonly string[];
  readonly times: number;
  readonly socketPath: string | undefined;
  readonly isolate: boolean;
  readonly serverOption: readonly string[];
  readonly corpus: boolean;
  readonly findings: string;
  readonly minimiseSeconds: number;
}

const MAX = 2 ** 31 - 1;
const DEFAULT_SECONDS = 60;

function collect(text: string, previous: readonly string[]): readonly string[] {
  return [...previous, text];
}

/** The command with its options. */
export function createCommand(findingsFolder: string): Command {
  const command = new Command('npm run fuzz --').description(
    'Attack vhost-user-blk as hostile front-ends and guests do, and see what comes of it.',
  );
  const options = [
    option('--seed <text>', 'cases follow from it (default: a new one)', path),
    option('--cases <n>', 'end after so many cases', integer(1, MAX)),
    option('--seconds <n>', 'end after so long, unless --cases is given', integer(1, MAX)).default(
      DEFAULT_SECONDS,
    ),
    new Option('--replay <file>', 'carry out this case, and no other; may be repeated')
      .argParser(collect)
      .default([]),
    option('--times <n>', 'how often to replay', integer(1, MAX)).default(1),
    option('--socket-path <path>', 'attack the back-end that listens here', path),
    new Option(
      '--isolate',
      'start servers with --isolate, and take memory from under them',
    ).default(false),
    new Option('--server-option <option>', 'start servers with this option; may be repeated')
      .argParser(collect)
      .default([]),
    new Option('--no-corpus', 'do not begin with the cases of fuzz/corpus'),
    option('--findings <folder>', 'where cases that fail are written', path).default(
      findingsFolder,
    ),
    option('--minimise-seconds <n>', 'how long to make each smaller', integer(0, MAX)).default(120),
  ];
  for (const each of options) command.addOption(each);
  return command.allowExcessArguments(false);
}

/** Parse the arguments behind the program's name. Ends the process on --help or an error. */
export function parseFuzzOptions(argv: readonly string[], findingsFolder: string): FuzzOptions {
  const command = createCommand(findingsFolder);
  command.parse(argv, { from: 'user' });
  const raw = command.opts<Omit<FuzzOptions, 'seed'> & { readonly seed?: string }>();
  return { ...raw, seed: raw.seed ?? String(Date.now() % 2 ** 31) };
}
