/**
 * What is compared: vhostkit, qemu-storage-daemon, and fio on the bare file as the limit.
 */
import { type ChildProcess, execFile, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ClientTarget } from './client.ts';
import type { ImageFormat } from './format.ts';
import { Client, cpuSeconds, isPinned, SERVER_CPU, spawnPinned } from './processes.ts';
import type { Measurement, Workload } from './workload.ts';

/** Where the disk's data is. */
export interface Medium {
  readonly name: string;
  /** A file, or `undefined` for a disk that does no I/O. */
  readonly path: string | undefined;
  readonly diskBytes: number;
  readonly isDirect: boolean;
  /** A disk object in memory, next to nbdkit's plugins. */
  readonly isObject?: boolean;
  /** What the file is; default: the disk's bytes. */
  readonly format?: ImageFormat;
  /** What is measured is the client library, not a server. */
  readonly isClient?: boolean;
}

/** Something that can run workloads on a medium. */
export interface Peer {
  readonly name: string;
  /** `undefined` for workloads that it does not have. */
  run(workload: Workload, seconds: number): Promise<Measurement | undefined>;
  close(): Promise<void>;
}

const SERVER = fileURLToPath(new URL('../src/cli/vhost-user-blk.js', import.meta.url));
export const STORAGE_DAEMON = 'qemu-storage-daemon';
const STARTUP_TIMEOUT_MS = 10_000;
const STARTUP_POLL_MS = 5;
const STOP_TIMEOUT_MS = 3000;
const NANOSECONDS_PER_US = 1000;

/** How a client uses a server; default: blocking, with split rings. */
export type ServerClient = Partial<Pick<ClientTarget, 'mode' | 'packed'>>;

/** A vhost-user-blk server process and a client of it. */
export class ServerPeer implements Peer {
  readonly name: string;
  /** From exec until the socket was there, in milliseconds. */
  readonly startMs: number;
  readonly #server: ChildProcess;
  readonly #client: Client;
  readonly #diskBytes: number;

  static async start(
    name: string,
    program: string,
    args: readonly string[],
    socketPath: string,
    diskBytes: number,
    client: ServerClient = {},
  ): Promise<ServerPeer> {
    const stdio: StdioOptions = ['ignore', 'inherit', 'inherit'];
    // Not every server removes its socket.
    rmSync(socketPath, { force: true });
    const server = spawnPinned(SERVER_CPU, program, args, { stdio });
    let hasEnded = false;
    server.once('exit', () => {
      hasEnded = true;
    });
    const startedMs = performance.now();
    while (!existsSync(socketPath)) {
      if (hasEnded || performance.now() - startedMs > STARTUP_TIMEOUT_MS)
        throw new Error(`${name} did not start`);
      await sleep(STARTUP_POLL_MS);
    }
    const startMs = performance.now() - startedMs;
    const { mode = 'blocking', packed = false } = client;
    const connected = await Client.connectTo(socketPath, mode, packed);
    return new ServerPeer(name, server, startMs, connected, diskBytes);
  }

  private constructor(
    name: string,
    server: ChildProcess,
    startMs: number,
    client: Client,
    diskBytes: number,
  ) {
    this.name = name;
    this.startMs = startMs;
    this.#server = server;
    this.#client = client;
    this.#diskBytes = diskBytes;
  }

  /** The server's process. */
  get pid(): number {
    return this.#server.pid ?? 0;
  }

  async run(workload: Workload, seconds: number): Promise<Measurement> {
    const { pid } = this;
    const before = cpuSeconds(pid);
    const result = await this.#client.run({ workload, seconds, diskBytes: this.#diskBytes });
    return { ...result, serverCpuSeconds: cpuSeconds(pid) - before };
  }

  async close(): Promise<void> {
    await this.#client.close();
    const exited = once(this.#server, 'exit');
    this.#server.kill('SIGTERM');
    // qemu-storage-daemon 7.2 may hang in its shutdown.
    const timer = setTimeout(() => this.#server.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  }
}

const MEMORY_OBJECT = fileURLToPath(new URL('./memory-object.js', import.meta.url));

function objectDisk({ diskBytes }: Medium): string {
  return `${MEMORY_OBJECT},mib=${diskBytes / 2 ** 20}`;
}

/** Queues that servers offer: two to sleep on, one to poll. */
const SERVER_QUEUES = 3;

/**
 * Start vhostkit's server. One thread for each of two queues that are used at a time.
 *
 * @param packed - the client uses packed rings.
 */
export function startVhostkit(medium: Medium, folder: string, packed = false): Promise<ServerPeer> {
  const name = packed ? 'vhostkit packed' : 'vhostkit';
  const socketPath = join(folder, `${name.replace(' ', '-')}.sock`);
  const cache = `--cache=${medium.isDirect ? 'none' : 'writeback'}`;
  const disk =
    medium.path === undefined
      ? [`--disk=${medium.isObject ? objectDisk(medium) : `null,size=${medium.diskBytes}`}`]
      : medium.format === undefined
        ? [`--blk-file=${medium.path}`, cache]
        : [`--disk=${medium.format.disk(medium.path)}`, cache];
  // The peers share the file.
  const rest = [
    '--locking=off',
    `--num-queues=${SERVER_QUEUES}`,
    '--threads=2',
    '--log-level=warn',
  ];
  const args = [SERVER, `--socket-path=${socketPath}`, ...disk, ...rest];
  return ServerPeer.start(name, process.execPath, args, socketPath, medium.diskBytes, { packed });
}

/**
 * Start qemu-storage-daemon with an I/O thread and io_uring, as its documentation advises.
 *
 * @param mode - how the client uses it.
 */
export function startStorageDaemon(
  medium: Medium,
  folder: string,
  mode: ClientTarget['mode'] = 'blocking',
  name = STORAGE_DAEMON,
): Promise<ServerPeer> {
  const socketPath = join(folder, `storage-daemon-${mode}.sock`);
  const { path, format } = medium;
  const fileName = format === undefined ? 'disk' : 'file';
  const node =
    path === undefined
      ? `driver=null-co,node-name=disk,read-zeroes=off,size=${medium.diskBytes}`
      : `driver=file,node-name=${fileName},filename=${path},aio=io_uring,locking=off,` +
        `cache.direct=${medium.isDirect ? 'on' : 'off'}`;
  const args = [
    ...['--object', 'iothread,id=thread0'],
    ...['--blockdev', node],
    ...(path === undefined ? [] : (format?.daemonArguments(path) ?? [])),
    '--export',
    `type=vhost-user-blk,id=export,node-name=disk,writable=on,num-queues=${SERVER_QUEUES},` +
      `iothread=thread0,addr.type=unix,addr.path=${socketPath}`,
  ];
  return ServerPeer.start(name, STORAGE_DAEMON, args, socketPath, medium.diskBytes, { mode });
}

/** Our own io_uring driver on the file itself, as fio's engine is. */
export class DriverPeer implements Peer {
  readonly name: string;
  readonly #client: Client;
  readonly #diskBytes: number;

  static async start(
    name: string,
    medium: Medium,
    mode: ClientTarget['mode'],
  ): Promise<DriverPeer> {
    const { path = '', isDirect, diskBytes } = medium;
    const client = await Client.connect({ driver: 'io_uring', path, isDirect, mode });
    return new DriverPeer(name, client, diskBytes);
  }

  private constructor(name: string, client: Client, diskBytes: number) {
    this.name = name;
    this.#client = client;
    this.#diskBytes = diskBytes;
  }

  async run(workload: Workload, seconds: number): Promise<Measurement | undefined> {
    if (workload.polled || workload.queues > 1) return undefined;
    const { pid } = this.#client;
    const before = cpuSeconds(pid);
    const result = await this.#client.run({ workload, seconds, diskBytes: this.#diskBytes });
    return { ...result, serverCpuSeconds: cpuSeconds(pid) - before };
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

/** fio's io_uring engine on the file itself: no vhost-user, no copy of a request. */
export class FioPeer implements Peer {
  readonly name = 'fio io_uring';
  readonly #medium: Medium;
  readonly #cpu: number | undefined;

  /** @param cpu - the processor to use, where processes are pinned at all; default: any. */
  constructor(medium: Medium, cpu?: number) {
    this.#medium = medium;
    this.#cpu = cpu;
  }

  async run(workload: Workload, seconds: number): Promise<Measurement | undefined> {
    const { path, isDirect, diskBytes } = this.#medium;
    if (path === undefined || workload.polled || workload.queues > 1) return undefined;
    const verb = `${workload.pattern === 'random' ? 'rand' : ''}${workload.operation}`;
    const { stdout } = await promisify(execFile)('fio', [
      '--name=bench',
      `--filename=${path}`,
      `--size=${diskBytes}`,
      `--rw=${verb}`,
      `--bs=${workload.blockBytes}`,
      `--iodepth=${workload.depth}`,
      '--ioengine=io_uring',
      `--direct=${isDirect ? 1 : 0}`,
      '--time_based',
      `--runtime=${seconds}`,
      '--thread',
      ...(this.#cpu === undefined || !isPinned() ? [] : [`--cpus_allowed=${this.#cpu}`]),
      '--norandommap',
      // It would drop the page cache that the others are measured on.
      '--invalidate=0',
      '--randrepeat=0',
      '--percentile_list=50:99:99.9',
      '--output-format=json',
    ]);
    return readFioResult(JSON.parse(stdout), workload.operation);
  }

  async close(): Promise<void> {}
}

interface FioOutput {
  readonly jobs: readonly {
    readonly usr_cpu: number;
    readonly sys_cpu: number;
    readonly job_runtime: number;
    readonly read: FioDirection;
    readonly write: FioDirection;
  }[];
}

interface FioDirection {
  readonly total_ios: number;
  readonly runtime: number;
  readonly clat_ns: { readonly percentile: Readonly<Record<string, number>> };
}

function readFioResult(output: FioOutput, operation: 'read' | 'write'): Measurement {
  const [job] = output.jobs;
  const { total_ios, runtime, clat_ns } = job[operation];
  const us = (name: string): number => clat_ns.percentile[name] / NANOSECONDS_PER_US;
  return {
    requests: total_ios,
    seconds: runtime / 1000,
    p50Us: us('50.000000'),
    p99Us: us('99.000000'),
    p999Us: us('99.900000'),
    serverCpuSeconds: ((job.usr_cpu + job.sys_cpu) / 100) * (job.job_runtime / 1000),
  };
}
