/** The command line of `blkio-info`: libblkio's. */
import type { Command } from 'commander';
import { driverNames } from '../blkio/index.ts';
import { type DeviceArguments, parseAssignment } from './device-arguments.ts';
import { oneOf, option } from './option-values.ts';
import { newCommand } from './program.ts';

const OUTPUTS = ['text', 'json'] as const;

/** What the program is asked to do. */
export interface BlkioInfoConfig {
  readonly output: (typeof OUTPUTS)[number];
  readonly device: DeviceArguments;
  /** Properties to print, in this order; none: all of them. */
  readonly wanted: readonly string[];
}

/** The command with its options, for parsing and for `--help`. */
export function createCommand(version: string): Command {
  return newCommand('blkio-info', 'Print the properties of a block device.', version)
    .argument('<driver>', driverNames.join(', '))
    .argument('[property[=value]...]', 'to set if it has a value, to print otherwise')
    .addOption(option('--output <format>', 'text or json', oneOf(OUTPUTS)).default('text'));
}

/** What a parsed command line asks for. */
export function configOf(command: Command): BlkioInfoConfig {
  const [driver, words] = command.processedArgs as [string, string[]];
  const assignments = words.filter((word) => word.includes('=')).map(parseAssignment);
  return {
    output: command.opts<{ output: BlkioInfoConfig['output'] }>().output,
    device: { driver, assignments },
    wanted: words.filter((word) => !word.includes('=')),
  };
}
