/**
 * The `vhost-user-blk` program as a child process: started and awaited, or run to its end.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { mappedRanges, openDescriptors } from '../../fuzz/process-facts.ts';
import { type ProcessEnd, spawnTied, tiedProcessRequirement } from './tied-process.ts';

const PROGRAM = fileURLToPath(new URL('../../src/cli/vhost-user-blk.js', import.meta.url));
/** What the log says when clients are served. */
const READY = /listening at |serving descriptor /;
/** For starting, ending and log lines; far above what a busy machine needs. */
const TIMEOUT_MS = 30_000;
/** For an end with requests under way that is to be well on a busy machine, too. */
export const PATIENCE = '--shutdown-timeout=20000';
/** Descriptors given in `fds` start at this number in the program. */
export const FIRST_PASSED_FD = 3;

export interface ServerProgramOptions {
  /** A program and its arguments that end by executing the rest of their command line. */
  readonly launcher?: readonly string[];
  /** Descriptors of this process that the program gets as `FIRST_PASSED_FD` and so on. */
  readonly fds?: readonly number[];
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** How a run of the program went. */
export interface ProgramRun extends ProcessEnd {
  readonly stdout: string;
  readonly stderr: string;
}

/** A running server. */
export class ServerProgram implements AsyncDisposable {
  /** When the process has ended and its output has been read. */
  readonly ended: Promise<ProgramRun>;
  readonly #child: ChildProcess;
  readonly #log = new EventEmitter();
  #stdout = '';
  #stderr = '';
  #end: ProgramRun | undefined;

  /** Start the program. It may not be ready for clients, and may never be. */
  constructor(args: readonly string[], options: ServerProgramOptions = {}) {
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', ...(options.fds ?? [])];
    const assignments = Object.entries(options.env ?? {}).map(
      ([name, value]) => `${name}=${value}`,
    );
    const environment = assignments.length === 0 ? [] : ['env', ...assignments];
    const program = [process.execPath, PROGRAM, ...args];
    const command = [...environment, ...(options.launcher ?? []), ...program];
    const { child, ended } = start(command, stdio);
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#log.emit('text');
    });
    this.ended = ended.then((end) => {
      this.#end = { ...end, stdout: this.#stdout, stderr: this.#stderr };
      this.#log.emit('text');
      return this.#end;
    });
  }

  /** Start the program and wait until it serves. Rejects with what it said if it does not. */
  static async ready(
    args: readonly string[],
    options: ServerProgramOptions = {},
  ): Promise<ServerProgram> {
    const server = new ServerProgram(args, options);
    try {
      await server.logged(READY);
    } catch (error) {
      await server.stop('SIGKILL');
      throw error;
    }
    return server;
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the program did not start');
    return this.#child.pid;
  }

  /** How it ended, if it has. */
  get end(): ProgramRun | undefined {
    return this.#end;
  }

  /** What it has written to standard error. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Wait until standard error matches. Rejects when the program ends without, or after 30 s. */
  async logged(pattern: RegExp): Promise<RegExpExecArray> {
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    for (;;) {
      const match = pattern.exec(this.#stderr);
      if (match !== null) return match;
      if (this.#end !== undefined || timeout.aborted) {
        const what = this.#end === undefined ? 'has not said' : 'ended without saying';
        throw new Error(`the program ${what} ${pattern}:\n${this.#stderr}`);
      }
      await once(this.#log, 'text', { signal: timeout }).catch(() => {});
    }
  }

  /** What its descriptors are: `socket:[]`, a path. Those that it closes meanwhile are left out. */
  openFds(): string[] {
    return openDescriptors(this.pid);
  }

  /** How many ranges of memory it has mapped. */
  mappedRanges(): number {
    return mappedRanges(this.pid);
  }

  /** Send a signal and wait for the end; SIGKILL follows after 30 s. May be called again. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<ProgramRun> {
    if (this.#end === undefined) this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), TIMEOUT_MS);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Run the program to its end, for command lines with which it does not serve. */
export async function runServerProgram(
  args: readonly string[],
  options: ServerProgramOptions = {},
): Promise<ProgramRun> {
  const program = new ServerProgram(args, options);
  const timer = setTimeout(() => void program.stop('SIGKILL'), TIMEOUT_MS);
  try {
    return await program.ended;
  } finally {
    clearTimeout(timer);
  }
}

function start(
  command: readonly string[],
  stdio: StdioOptions,
): { child: ChildProcess; ended: Promise<ProcessEnd> } {
  const [file, ...args] = command;
  if (tiedProcessRequirement() === undefined) return spawnTied(file, args, stdio);
  const child = spawn(file, args, { stdio });
  const ended = once(child, 'close').then(([code, signal]): ProcessEnd => ({ code, signal }));
  return { child, ended };
}
