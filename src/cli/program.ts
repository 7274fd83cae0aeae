/**
 * What the programs have in common: how a command line is parsed, and how they end. Exit codes: 0,
 * 1 for what cannot be done, 2 for a wrong command line; the reason is one line.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { BlkioError } from '../blkio/index.ts';
import { ExportError } from '../exports/index.ts';
import { StorageError } from '../storage/index.ts';
import { exitNow, SystemError } from '../sys/index.ts';

export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;

/** Options that contradict each other, or one that is missing. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

function packageVersion(): string {
  const path = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}

/** A command with what all programs have. */
export function newCommand(name: string, description: string, version: string): Command {
  return new Command(name)
    .description(description)
    .version(version, '--version', 'print the version and exit')
    .helpOption('-h, --help', 'print this text and exit')
    .allowExcessArguments(false)
    .showSuggestionAfterError(true);
}

/** Say why, and end. */
export function fail(program: string, message: string, code: number): never {
  const line = message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  process.stderr.write(`${program}: ${line}\n`);
  exitNow(code);
}

/** End because of an error: with its line if it is a user's, else with where it comes from. */
export function failFor(program: string, error: unknown): never {
  if (error instanceof UsageError) fail(program, `${error.message} (see --help)`, EXIT_USAGE);
  if (error instanceof BlkioError || error instanceof SystemError) {
    fail(program, error.message, EXIT_FAILURE);
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`${program}: internal error: ${text}\n`);
  exitNow(EXIT_FAILURE);
}

/** Parse a command line, or end: with 0 for `--help`, with 2 for what is wrong. */
export function parseOrExit<Config>(
  create: (version: string) => Command,
  configOf: (command: Command) => Config,
  argv: readonly string[],
): Config {
  const command = create(packageVersion())
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  try {
    command.parse(argv, { from: 'user' });
    return configOf(command);
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) process.exit(0);
    if (error instanceof CommanderError || error instanceof UsageError) {
      return fail(command.name(), `${error.message} (see --help)`, EXIT_USAGE);
    }
    throw error;
  }
}

/**
 * End a server that cannot serve: with a line where the reason is not a bug, else by throwing what
 * was thrown.
 */
export function failToServe(program: string, error: unknown): never {
  if (error instanceof StorageError || error instanceof ExportError) {
    fail(program, error.message, EXIT_FAILURE);
  }
  // Nothing of this program's: the system has no descriptors, memory or patience left.
  if (isSystemError(error)) fail(program, `cannot serve: ${error.message}`, EXIT_FAILURE);
  throw error;
}

/** From another thread an error comes as a copy, without its class. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && (error instanceof SystemError || error.name === 'SystemError');
}
