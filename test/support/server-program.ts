/** The real `vhost-user-blk` program as a child process. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';
import { type ProcessEnd, spawnTied } from './tied-process.ts';

const PROGRAM = fileURLToPath(new URL('../../src/cli/vhost-user-blk.js', import.meta.url));
/** The program promises to be gone within a second; a busy machine gets more. */
const STOP_TIMEOUT_MS = 10_000;

/** A running server. */
export interface ServerProgram {
  readonly socketPath: string;
  readonly pid: number;
  /** How it ended, if it has. */
  readonly end: ProcessEnd | undefined;
  /** Everything it has said on standard error. */
  readonly stderr: string;
  /** How many descriptors it has open. */
  openFds(): number;
  /** How many ranges of memory it has mapped. */
  mappedRanges(): number;
  /** Ask it to end (again: harmless), and wait. It is killed if that takes too long. */
  stop(): Promise<ProcessEnd>;
}

/** Start the program on a socket of its own and wait until it listens. */
export async function startServerProgram(args: readonly string[]): Promise<ServerProgram> {
  const folder = mkdtempSync(join(tmpdir(), 'vhostkit-server-'));
  const socketPath = join(folder, 'socket');
  const argv = [PROGRAM, '--socket-path', socketPath, ...args];
  const { child, ended } = spawnTied(process.execPath, argv, ['ignore', 'ignore', 'pipe']);
  const pid = child.pid ?? 0;
  let stderr = '';
  let end: ProcessEnd | undefined;
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  void ended.then(
    (how) => {
      end = how;
      rmSync(folder, { recursive: true, force: true });
    },
    () => {},
  );
  const server: ServerProgram = {
    socketPath,
    pid,
    get end() {
      return end;
    },
    get stderr() {
      return stderr;
    },
    openFds: () => readdirSync(`/proc/${pid}/fd`).length,
    mappedRanges: () => readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').length - 1,
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      try {
        return await ended;
      } finally {
        clearTimeout(timer);
      }
    },
  };
  await eventually(
    () => `the server listens: ${stderr}`,
    () => end !== undefined || stderr.includes('listening at'),
  );
  if (end !== undefined) throw new Error(`the server did not start: ${stderr}`);
  return server;
}
