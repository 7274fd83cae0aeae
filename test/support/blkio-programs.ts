/** The blkio programs run against a real server, which needs this process's event loop meanwhile. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CliRun } from './cli-run.ts';

const TIMEOUT_MS = 60_000;

/** Run `src/cli/<name>.ts` to its end. */
export function runProgram(name: string, ...args: readonly string[]): Promise<CliRun> {
  const program = fileURLToPath(new URL(`../../src/cli/${name}.js`, import.meta.url));
  return new Promise((resolve) => {
    const options = { timeout: TIMEOUT_MS };
    const child = execFile(process.execPath, [program, ...args], options, (_, stdout, stderr) => {
      resolve({ code: child.exitCode, stdout, stderr });
    });
  });
}
