/**
 * The program under attack: `vhost-user-blk` as a child process, and what it says. Of a log that
 * grows for hours only what counts is kept.
 */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type ProcessEnd, spawnTied } from '../test/support/tied-process.ts';

const PROGRAM = fileURLToPath(new URL('../src/cli/vhost-user-blk.js', import.meta.url));
const READY = / info {2}(listening at|serving descriptor) /;
const CONNECTED = / info {2}client \d+ connected$/;
const DISCONNECTED = / info {2}client \d+ disconnected: /;
/** What a front-end may bring about: all else is errors, stacks, and Node's warnings. */
const ORDINARY = /^\S+Z (info |warn |debug) /;
/** With `--isolate`: a client has cut its memory off, and the process that served it is gone. */
const CUT_OFF = / error client \d+: its process has been lost: SIGBUS: /;
const KEPT_LINES = 40;
const START_MS = 30_000;

/** See the module's comment. */
export class ServerProcess implements AsyncDisposable {
  /** Lines that should not be there, the first of them. */
  readonly alarms: string[] = [];
  /** The last lines of the log. */
  readonly lastLines: string[] = [];
  connected = 0;
  disconnected = 0;
  /** Processes lost because a client has cut its memory off. */
  cutOff = 0;
  end: ProcessEnd | undefined;
  readonly #child: ChildProcess;
  readonly #ended: Promise<ProcessEnd>;
  #rest = '';
  #isReady = false;
  #onChange = (): void => {};

  /**
   * Start it, and wait until it serves. Rejects with what it said if it does not.
   *
   * @param modules - to be loaded before the program, in each of its threads: file URLs.
   */
  static async start(
    options: readonly string[],
    modules: readonly string[] = [],
  ): Promise<ServerProcess> {
    const server = new ServerProcess(options, modules);
    const isUp = (): boolean => server.#isReady || server.end !== undefined;
    await server.#until(isUp, START_MS);
    if (server.#isReady) return server;
    await server[Symbol.asyncDispose]();
    throw new Error(`the server does not start: ${server.lastLines.join('\n')}`);
  }

  private constructor(options: readonly string[], modules: readonly string[]) {
    const imports = modules.map((module) => `--import=${module}`);
    const args = [...imports, PROGRAM, ...options];
    const { child, ended } = spawnTied(process.execPath, args, ['ignore', 'ignore', 'pipe']);
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    this.#ended = ended.then((end) => {
      this.end = end;
      this.#onChange();
      return end;
    });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the server did not start');
    return this.#child.pid;
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (READY.test(line)) this.#isReady = true;
      if (CONNECTED.test(line)) this.connected += 1;
      if (DISCONNECTED.test(line)) this.disconnected += 1;
      if (CUT_OFF.test(line)) {
        this.cutOff += 1;
        this.disconnected += 1;
      } else if (!ORDINARY.test(line) && this.alarms.length < KEPT_LINES) this.alarms.push(line);
      this.lastLines.push(line);
      if (this.lastLines.length > KEPT_LINES) this.lastLines.shift();
    }
    this.#onChange();
  }

  /** Wait until something about the log or the end is so. False: it is not so in time. */
  async #until(isSo: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = performance.now() + limitMs;
    while (!isSo()) {
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) return false;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#onChange = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#onChange = () => {};
    }
    return true;
  }

  /** Wait until all clients that came have gone, and so many have come. False: not in time. */
  allGone(connected: number, limitMs: number): Promise<boolean> {
    return this.#until(
      () =>
        this.end !== undefined ||
        (this.connected >= connected && this.connected === this.disconnected),
      limitMs,
    );
  }

  /** Give an end that is under way time to become known. */
  async awaitEnd(limitMs: number): Promise<void> {
    await this.#until(() => this.end !== undefined, limitMs);
  }

  /** Ask it to end, or make it, and wait for that. */
  async stop(signal: NodeJS.Signals): Promise<ProcessEnd> {
    if (this.end === undefined) this.#child.kill(signal);
    return this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }
}
