/** The processes of a measurement, and the processor time they use. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { findProgram } from '../tools/guest/programs.ts';
import type { ClientCommand, ClientResult, ClientTarget } from './client.ts';

/** sysconf(_SC_CLK_TCK): 100 on every Linux there is. */
const TICKS_PER_SECOND = 100;
/** Fields 14 and 15 of /proc/PID/stat, counted behind the program's name. */
const UTIME = 11;
const STIME = 12;

/** Processor seconds a process has used so far, all threads. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[UTIME]) + Number(fields[STIME])) / TICKS_PER_SECOND;
}

/** Processors for the two sides of a measurement. */
export const SERVER_CPU = 1;
export const CLIENT_CPU = 0;

let isPinning = availableParallelism() > 1 && findProgram('taskset') !== undefined;

/** Whether processes are kept on one processor each. */
export function isPinned(): boolean {
  return isPinning;
}

/** Let the scheduler place the processes from now on. */
export function doNotPin(): void {
  isPinning = false;
}

/**
 * Start a process, on one processor only where there are several: a scheduler that puts both sides
 * on the same one, as some do to save power, makes the figures those of its decisions.
 */
export function spawnPinned(
  cpu: number,
  program: string,
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  const child = isPinning
    ? spawn('taskset', ['--cpu-list', String(cpu), program, ...args], options)
    : spawn(program, args, options);
  // A measurement that fails is not to leave servers behind.
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  return child;
}

/** A load generator connected to a device. */
export class Client {
  readonly #process: ChildProcess;
  #onMessage: (message: unknown) => void = () => {};
  #onExit: (error: Error) => void = () => {};

  static async connect(target: ClientTarget): Promise<Client> {
    const program = fileURLToPath(new URL('./client.js', import.meta.url));
    const stdio: SpawnOptions['stdio'] = ['ignore', 'inherit', 'inherit', 'ipc'];
    const args = [program, JSON.stringify(target)];
    const client = new Client(spawnPinned(CLIENT_CPU, process.execPath, args, { stdio }));
    await client.#nextMessage();
    return client;
  }

  /** Connect to a vhost-user-blk back-end. */
  static connectTo(
    socketPath: string,
    mode: ClientTarget['mode'] = 'blocking',
    packed = false,
  ): Promise<Client> {
    const driver = 'virtio-blk-vhost-user';
    return Client.connect({ driver, path: socketPath, isDirect: false, packed, mode });
  }

  private constructor(child: ChildProcess) {
    this.#process = child;
    child.on('message', (message) => this.#onMessage(message));
    child.on('exit', () => this.#onExit(new Error('the load generator has ended')));
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  #nextMessage(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#onMessage = resolve;
      this.#onExit = reject;
    });
  }

  /** Run a workload. */
  async run(command: ClientCommand): Promise<ClientResult> {
    const answer = this.#nextMessage();
    this.#process.send(command);
    return (await answer) as ClientResult;
  }

  /** End the client's process. */
  async close(): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.#process.disconnect();
    await exited;
  }
}
