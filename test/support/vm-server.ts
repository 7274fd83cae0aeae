/**
 * The `vhost-user-blk` program as the disk of a guest: started for a test, ended cleanly, and held
 * to what a well-behaved guest may expect of it.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ProcessEnd, spawnTied, type TiedChild } from './tied-process.ts';

const PROGRAM = fileURLToPath(new URL('../../src/cli/vhost-user-blk.js', import.meta.url));
/** A server that is not gone by then, after SIGTERM, is killed and fails the test. */
const STOP_TIMEOUT_MS = 10_000;
/** What it counts when a guest got an error, or was not understood. */
const TROUBLE = /\b(?:diskErrors|invalidRequests|unsupportedRequests|brokenRings) \d+/;

/** A running server. */
export class VmServer implements AsyncDisposable {
  readonly socketPath: string;
  readonly #args: readonly string[];
  #process: TiedChild;
  #stderr = '';
  #end: ProcessEnd | undefined;

  /**
   * Start a server and wait until it listens.
   *
   * @param args - all but the socket's path, which is made up.
   */
  static async start(...args: readonly string[]): Promise<VmServer> {
    const server = new VmServer(args);
    await server.#untilListening();
    return server;
  }

  private constructor(args: readonly string[]) {
    this.socketPath = join(mkdtempSync(join(tmpdir(), 'vm-server-')), 'socket');
    this.#args = args;
    this.#process = this.#spawn();
  }

  /** What it has said since it was started, or started again. */
  get stderr(): string {
    return this.#stderr;
  }

  /** End it as a service manager does, and assert that it ended well and had no trouble. */
  async stop(): Promise<void> {
    this.#process.child.kill('SIGTERM');
    const timer = setTimeout(() => this.#process.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    const end = await this.#process.ended;
    clearTimeout(timer);
    assert.deepEqual(end, { code: 0, signal: null }, this.#stderr);
    assert.doesNotMatch(this.#stderr, /Z (?:warn|error) /);
    assert.doesNotMatch(this.#stderr, TROUBLE);
  }

  /** End it the hard way. */
  async kill(): Promise<void> {
    this.#process.child.kill('SIGKILL');
    await this.#process.ended;
  }

  /** After an end, another process with the same arguments at the same path. */
  async startAgain(): Promise<void> {
    assert.ok(this.#end !== undefined, 'the server still runs');
    this.#process = this.#spawn();
    await this.#untilListening();
  }

  /** Wait until it has said something. Rejects if it ends without. */
  async said(text: string): Promise<void> {
    const { child, ended } = this.#process;
    const output = child.stderr;
    const until = async (): Promise<void> => {
      while (!this.#stderr.includes(text)) await once(output ?? child, 'data');
    };
    await Promise.race([until(), ended]);
    if (this.#stderr.includes(text)) return;
    throw new Error(`the server ended without saying "${text}": ${this.#stderr}`);
  }

  /** What it counted for a client that has gone; a counter that is 0 is not in it. */
  counted(client = 1): Readonly<Record<string, number>> {
    const line = new RegExp(`client ${client} disconnected: (.*)`).exec(this.#stderr);
    assert.ok(line !== null, `no summary of client ${client}: ${this.#stderr}`);
    const counters = String(line[1]).matchAll(/(\w+) (\d+)/g);
    return Object.fromEntries(Array.from(counters, ([, name, count]) => [name, Number(count)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#end === undefined) await this.kill();
    rmSync(join(this.socketPath, '..'), { recursive: true, force: true });
  }

  #spawn(): TiedChild {
    this.#stderr = '';
    this.#end = undefined;
    const argv = [PROGRAM, `--socket-path=${this.socketPath}`, ...this.#args];
    const process_ = spawnTied(process.execPath, argv, ['ignore', 'ignore', 'pipe']);
    process_.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    void process_.ended.then((end) => {
      this.#end = end;
    });
    return process_;
  }

  async #untilListening(): Promise<void> {
    try {
      await this.said('listening at');
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }
}
