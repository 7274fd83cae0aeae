/** Runs a program of ours to its end. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** How it ended, and what it said. */
export interface CliRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Longer than any of these programs takes when it does not serve. */
const TIMEOUT_MS = 30_000;

/** Run `src/cli/<name>.ts`; `environment` is added to that of this process. */
export function runCli(
  name: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): CliRun {
  const program = fileURLToPath(new URL(`../../src/cli/${name}.js`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    // No pipe: Node makes those of sockets, which are something to serve.
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    env: { ...process.env, ...environment },
  });
  return { code: status, stdout, stderr };
}
