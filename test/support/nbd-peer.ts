/** NBD servers and tools that others have written, as child processes. */
import { execFile } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../../tools/guest/programs.ts';
import { eventually } from './eventually.ts';
import { type CleanUp, imageFolder } from './image-folder.ts';
import { spawnTied, type TiedChild, tiedProcessRequirement } from './tied-process.ts';

const PACKAGES: Readonly<Record<string, string>> = {
  nbdkit: 'nbdkit',
  nbdcopy: 'libnbd-bin',
  nbdinfo: 'libnbd-bin',
  'qemu-nbd': 'qemu-utils',
  openssl: 'openssl',
};

/** Why one of the programs cannot be used, with what to install; false if all can. */
export function nbdRequirements(...programs: readonly string[]): string | false {
  for (const program of programs) {
    if (findProgram(program) !== undefined) continue;
    return `${program} is missing; install it: apt-get install ${PACKAGES[program]}`;
  }
  return tiedProcessRequirement() ?? false;
}

/** A server that listens on a unix socket of its own. */
export class NbdPeer {
  readonly socketPath: string;
  readonly #program: string;
  readonly #args: readonly string[];
  readonly #pidFile: string;
  #child: TiedChild | undefined;
  #messages = '';

  private constructor(program: string, folder: string, args: readonly string[]) {
    this.#program = program;
    this.socketPath = join(folder, `${program}.sock`);
    this.#pidFile = join(folder, `${program}.pid`);
    const listen =
      program === 'nbdkit'
        ? ['--foreground', '--unix', this.socketPath, '--pidfile', this.#pidFile]
        : ['--socket', this.socketPath, '--pid-file', this.#pidFile, '--persistent'];
    this.#args = [...listen, ...args];
  }

  /** Start `nbdkit` or `qemu-nbd`; it ends with the test. */
  static async start(t: CleanUp, program: string, args: readonly string[]): Promise<NbdPeer> {
    const peer = new NbdPeer(program, imageFolder(t), args);
    t.after(() => peer.kill());
    await peer.start();
    return peer;
  }

  get uri(): string {
    return `nbd+unix:///?socket=${this.socketPath}`;
  }

  /** Start it, again after it was killed. */
  async start(): Promise<void> {
    // One that was killed may still have the image locked.
    await this.#child?.ended.catch(() => {});
    rmSync(this.socketPath, { force: true });
    rmSync(this.#pidFile, { force: true });
    const child = spawnTied(this.#program, this.#args, ['ignore', 'ignore', 'pipe']);
    this.#child = child;
    let hasEnded = false;
    void child.ended
      .catch(() => {})
      .then(() => {
        hasEnded = true;
      });
    child.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#messages += text;
    });
    await eventually(`${this.#program} listens`, () => {
      if (hasEnded) throw new Error(`${this.#program} did not start: ${this.#messages}`);
      return existsSync(this.#pidFile);
    });
  }

  /** End it the hard way. */
  kill(): void {
    this.#child?.child.kill('SIGKILL');
  }

  /** Let it finish. */
  async stop(): Promise<void> {
    this.#child?.child.kill('SIGTERM');
    await this.#child?.ended;
  }
}

const runFile = promisify(execFile);

/** Run a program to its end; what it printed. Rejects if it fails. */
export async function run(program: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await runFile(program, args, { timeout: 60_000 });
  return stdout;
}
