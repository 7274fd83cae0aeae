/**
 * The `vhost-user-blk` program as the disk of a guest: started for a test, ended cleanly, and held
 * to what a well-behaved guest may expect of it.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PATIENCE, ServerProgram } from './server-program.ts';

/** What it counts when a guest got an error, or was not understood. */
const TROUBLE = /\b(?:diskErrors|invalidRequests|unsupportedRequests|brokenRings|logMisses) \d+/;

/** The last that QEMU does when it sets a device up: DRIVER_OK. */
export const SET_UP = /<- SET_STATUS {value: 0xf}/;

/** A running server. */
export class VmServer implements AsyncDisposable {
  readonly socketPath: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'vm-server-'));
  readonly #args: readonly string[];
  #program: ServerProgram | undefined;

  /**
   * Start a server and wait until it listens.
   *
   * @param args - all but the socket's path, which is made up.
   */
  static async start(...args: readonly string[]): Promise<VmServer> {
    const server = new VmServer(args);
    try {
      await server.startAgain();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  private constructor(args: readonly string[]) {
    this.socketPath = join(this.#folder, 'socket');
    this.#args = args;
  }

  /** What it has said since it was started, or started again. */
  get stderr(): string {
    return this.#running.stderr;
  }

  /** End it as a service manager does, and assert that it ended well and had no trouble. */
  async stop(): Promise<void> {
    const { code, signal, stderr } = await this.#running.stop();
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr);
    assert.doesNotMatch(stderr, /Z (?:warn|error) /);
    assert.doesNotMatch(stderr, TROUBLE);
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.#running.pid, name);
  }

  /** End it the hard way. */
  async kill(): Promise<void> {
    await this.#running.stop('SIGKILL');
  }

  /** After an end, another process with the same arguments at the same path. */
  async startAgain(): Promise<void> {
    const hasEnded = this.#program === undefined || this.#program.end !== undefined;
    assert.ok(hasEnded, 'the server still runs');
    this.#program = await ServerProgram.ready(this.#allArgs);
  }

  /**
   * Another process takes the place of this one, which has to end well. Resolves when it has, and
   * the new one is connected to; with how long no ring ran, in milliseconds.
   */
  async upgrade(): Promise<number> {
    const old = this.#running;
    const next = await ServerProgram.ready([...this.#allArgs, '--take-over']);
    this.#program = next;
    const { code, signal, stderr } = await old.ended;
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr);
    assert.doesNotMatch(stderr, TROUBLE);
    await next.logged(SET_UP);
    return loggedMs(next.stderr, /ring 0 runs/) - loggedMs(stderr, /SIGTERM: finishing/);
  }

  /** Wait until what it has said matches. Rejects if it ends without. */
  async said(pattern: RegExp): Promise<void> {
    await this.#running.logged(pattern);
  }

  /**
   * Wait until QEMU has set the device up: needs `--log-level=debug`. QEMU 7.2 gives a device up for
   * ever whose back-end goes before that.
   */
  async isSetUp(): Promise<void> {
    await this.said(SET_UP);
  }

  /** What it counted for a client that has gone; a counter that is 0 is not in it. */
  counted(client = 1): Readonly<Record<string, number>> {
    const line = new RegExp(`client ${client} disconnected: (.*)`).exec(this.stderr);
    assert.ok(line !== null, `no summary of client ${client}: ${this.stderr}`);
    const counters = String(line[1]).matchAll(/(\w+) (\d+)/g);
    return Object.fromEntries(Array.from(counters, ([, name, count]) => [name, Number(count)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program?.stop('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #allArgs(): string[] {
    // The disk may be slow: a guest's flush takes as long as it takes.
    return [`--socket-path=${this.socketPath}`, PATIENCE, ...this.#args];
  }

  get #running(): ServerProgram {
    if (this.#program === undefined) throw new Error('the server was never started');
    return this.#program;
  }
}

/** When it was said, in milliseconds of the clock. */
function loggedMs(log: string, pattern: RegExp): number {
  const line = log.split('\n').find((each) => pattern.test(each)) ?? '';
  return Date.parse(line.split(' ')[0]);
}
