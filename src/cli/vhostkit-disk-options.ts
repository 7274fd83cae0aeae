/** The command line of `vhostkit-disk`. */
import { type Command, Option } from 'commander';
import { integer, oneOf, option } from './option-values.ts';
import { newCommand } from './program.ts';

const PACES = ['fast', 'recorded'] as const;
const MAX_DEPTH = 65536;

/** What can be done with snapshots. */
export type SnapshotAction = 'take' | 'list' | 'drop' | 'roll-back';

/** What the program is asked to do. */
export type DiskToolConfig =
  | { readonly command: 'commit'; readonly disk: string }
  | { readonly command: 'scan'; readonly disk: string }
  | {
      readonly command: 'snapshot';
      readonly action: SnapshotAction;
      readonly disk: string;
      /** Absent: `list`. */
      readonly name?: string;
    }
  | {
      readonly command: 'replay';
      readonly trace: string;
      readonly disk: string;
      readonly pace: (typeof PACES)[number];
      readonly depth: number | undefined;
      readonly mayWrite: boolean;
    };

const DISK = ['<disk>', 'as vhost-user-blk --disk takes it'] as const;

/**
 * The command with its subcommands, for parsing and for `--help`.
 *
 * @param choose - told what was asked for.
 */
export function createCommand(
  version: string,
  choose: (config: DiskToolConfig) => void = () => {},
): Command {
  const description = 'Do something with a disk that nobody serves.';
  const command = newCommand('vhostkit-disk', description, version);
  const add = (name: string, summary: string, parent = command): Command =>
    parent
      .command(name)
      .description(summary)
      .helpOption('-h, --help', 'print this text and exit')
      .exitOverride()
      .configureOutput({ writeErr: () => {} })
      .allowExcessArguments(false);
  add('commit', 'write an overlay to the disk below it: copy-on-write(..., overlay=...)')
    .argument(...DISK)
    .action((disk: string) => choose({ command: 'commit', disk }));
  add('scan', 'read all of a disk, and say what is corrupt: checksum(..., file=...)')
    .argument(...DISK)
    .action((disk: string) => choose({ command: 'scan', disk }));
  add('replay', 'ask the requests of a trace of a disk: log(..., format=json) makes them')
    .argument('<trace>', 'the file that has the trace')
    .argument(...DISK)
    .addOption(option('--pace <when>', PACES.join(', '), oneOf(PACES)).default('fast'))
    .addOption(
      option('--depth <n>', 'requests under way; else as in the trace', integer(1, MAX_DEPTH)),
    )
    .addOption(new Option('--write', 'the disk may be written, over what it holds'))
    .action((trace: string, disk: string, raw: ReplayRaw) => {
      const { pace, depth, write = false } = raw;
      choose({ command: 'replay', trace, disk, pace, depth, mayWrite: write });
    });
  addSnapshots(add, choose);
  return command;
}

function addSnapshots(
  add: (name: string, summary: string, parent?: Command) => Command,
  choose: (config: DiskToolConfig) => void,
): void {
  const parent = add('snapshot', 'snapshots of a disk: snapshot(..., file=...)');
  add('list', 'the snapshots, the oldest first', parent)
    .argument(...DISK)
    .action((disk: string) => choose({ command: 'snapshot', action: 'list', disk }));
  const named: readonly (readonly [SnapshotAction, string])[] = [
    ['take', 'keep the disk as it is now'],
    ['drop', 'forget a snapshot, and give its space back'],
    ['roll-back', 'have the disk as it was; snapshots stay'],
  ];
  for (const [action, summary] of named) {
    add(action, summary, parent)
      .argument(...DISK)
      .argument('<name>', 'of the snapshot')
      .action((disk: string, name: string) => choose({ command: 'snapshot', action, disk, name }));
  }
}

/** Parsed values as commander names them. */
interface ReplayRaw {
  readonly pace: (typeof PACES)[number];
  readonly depth?: number;
  readonly write?: boolean;
}
