/** What is wrong with a command line, as the program would say it. */
import assert from 'node:assert/strict';
import { CommanderError } from 'commander';
import { UsageError } from '../../src/cli/program.ts';

/** The complaint that parsing ends with; fails if there is none, or another error. */
export function complaintOf(parse: () => unknown, argv: readonly string[]): string {
  try {
    parse();
  } catch (error) {
    assert.ok(error instanceof CommanderError || error instanceof UsageError, String(error));
    return error.message;
  }
  throw new Error(`${argv.join(' ')}: no complaint`);
}
