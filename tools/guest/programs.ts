/**
 * The host's programs: where they are, and running one to its end.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** Most a program may print: an uncompressed kernel is about 60 MB. */
const MAX_OUTPUT_BYTES = 512 * 1024 * 1024;

/** Long enough for a 40 MB download on a slow line; a dead mirror must not block for ever. */
const PROGRAM_TIMEOUT_MS = 300_000;

/** The administrator's programs are not in every user's PATH. */
const MORE_PLACES = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];

/**
 * The assets can't be made. The message is one line that says what is missing and how to get it.
 */
export class GuestAssetsError extends Error {
  override readonly name = 'GuestAssetsError';
}

/** The path of a program, or undefined if it is not installed. */
export function findProgram(name: string): string | undefined {
  for (const place of [...(process.env.PATH ?? '').split(':'), ...MORE_PLACES]) {
    if (place === '') continue;
    const path = join(place, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here: look in the next place.
    }
  }
  return undefined;
}

/**
 * The path of a program that has to be there.
 *
 * @param debianPackage - the package that has it, for the error's install line.
 */
export function requireProgram(name: string, debianPackage: string): string {
  const path = findProgram(name);
  if (path !== undefined) return path;
  throw new GuestAssetsError(`${name} is missing; install it: apt-get install ${debianPackage}`);
}

/** What `runProgram` may be told besides the arguments. */
export interface RunOptions {
  /** Working folder; default: the current one. */
  readonly cwd?: string;
  /** Bytes for the program's standard input; default: none. */
  readonly input?: Uint8Array;
}

/**
 * Run a program to its end and return what it printed. A `GuestAssetsError` with the last line of
 * its standard error if it fails.
 */
export function runProgram(path: string, args: readonly string[], options?: RunOptions): Buffer {
  try {
    return execFileSync(path, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
      maxBuffer: MAX_OUTPUT_BYTES,
      timeout: PROGRAM_TIMEOUT_MS,
      ...options,
    });
  } catch (error) {
    throw new GuestAssetsError(`${path} ${args.join(' ')} failed: ${lastWords(error)}`, {
      cause: error,
    });
  }
}

function lastWords(error: unknown): string {
  const { stderr } = error as { stderr?: Buffer };
  const lines = (stderr?.toString() ?? '').trim().split('\n');
  return lines.at(-1) || String(error).split('\n', 1)[0] || 'no message';
}
