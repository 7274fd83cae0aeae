/**
 * qemu-storage-daemon as a peer: an independent vhost-user-blk back-end to compare with, and to
 * prove the test harness itself.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from '../../tools/guest/programs.ts';
import { qemuValue, spawnTied, type TiedChild, tiedProcessRequirement } from './tied-process.ts';

const PROGRAM = 'qemu-storage-daemon';

const READY_TIMEOUT_MS = 60_000;
const POLL_INTERVAL_MS = 10;
/** A daemon that does not flush and end within this time is killed. */
const STOP_TIMEOUT_MS = 60_000;

/** What to export and how. */
export interface StorageDaemonOptions {
  /** A raw image file; unused with `nullCoSizeBytes`. */
  readonly imagePath?: string;
  /** Where to listen; must not exist. */
  readonly socketPath: string;
  /** Virtqueues; default 1. */
  readonly numQueues?: number;
  /** Default true. */
  readonly writable?: boolean;
  /** How the daemon does I/O; `native` needs `cacheDirect`. Default `threads`. */
  readonly aio?: 'threads' | 'native' | 'io_uring';
  /** Open the image with O_DIRECT; default false. */
  readonly cacheDirect?: boolean;
  /** Export a disk of this size that ignores writes and reads zeros, instead of an image. */
  readonly nullCoSizeBytes?: number;
  /** Bytes in a logical block; default 512. */
  readonly logicalBlockSize?: number;
}

/** A running daemon. */
export interface StorageDaemon extends AsyncDisposable {
  readonly pid: number;
  /** Let it flush and end; kills it if that takes longer than 10 s. May be called again. */
  stop(): Promise<void>;
}

/** Why there can be no daemon here, with what to install; undefined if there can. */
export function storageDaemonRequirements(): string | undefined {
  if (findProgram(PROGRAM) === undefined) {
    return `${PROGRAM} is missing; install it: apt-get install qemu-system-common`;
  }
  return tiedProcessRequirement();
}

/**
 * Start a daemon with one vhost-user-blk export and wait until its socket listens. Rejects with
 * the daemon's own message if it can't do that.
 */
export async function startStorageDaemon(options: StorageDaemonOptions): Promise<StorageDaemon> {
  // The daemon writes this file when all its exports are up. Connecting to the socket would show
  // that too, but the daemon serves one client at a time, and that would be the first.
  const folder = mkdtempSync(join(tmpdir(), 'storage-daemon-'));
  const pidFile = join(folder, 'pid');
  const args = [...daemonArguments(options), '--pidfile', pidFile];
  const daemon = spawnTied(PROGRAM, args, ['ignore', 'ignore', 'pipe']);
  // Not before: the daemon looks at the file once more after it has made it, and ends if it is gone.
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
  void daemon.ended.then(removeFolder, removeFolder);
  let messages = '';
  daemon.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    messages += text;
  });
  try {
    await untilReady(daemon, pidFile);
  } catch (error) {
    daemon.child.kill('SIGKILL');
    await daemon.ended;
    throw new Error(`${PROGRAM} did not start: ${messages.trimEnd()}`, { cause: error });
  }
  const stop = (): Promise<void> => stopDaemon(daemon);
  return { pid: daemon.child.pid ?? 0, stop, [Symbol.asyncDispose]: stop };
}

function daemonArguments(options: StorageDaemonOptions): string[] {
  const exported = [
    'type=vhost-user-blk',
    'id=export',
    'node-name=disk',
    'addr.type=unix',
    `addr.path=${qemuValue(options.socketPath)}`,
    `writable=${onOff(options.writable ?? true)}`,
    `num-queues=${options.numQueues ?? 1}`,
    `logical-block-size=${options.logicalBlockSize ?? 512}`,
  ];
  return ['--blockdev', blockdev(options), '--export', exported.join(',')];
}

function blockdev(options: StorageDaemonOptions): string {
  if (options.nullCoSizeBytes !== undefined) {
    return `driver=null-co,node-name=disk,read-zeroes=on,size=${options.nullCoSizeBytes}`;
  }
  if (options.imagePath === undefined) throw new Error('neither imagePath nor nullCoSizeBytes');
  return [
    'driver=file',
    'node-name=disk',
    `filename=${qemuValue(options.imagePath)}`,
    `read-only=${onOff(options.writable === false)}`,
    `aio=${options.aio ?? 'threads'}`,
    `cache.direct=${onOff(options.cacheDirect ?? false)}`,
    'discard=unmap',
  ].join(',');
}

function onOff(value: boolean): string {
  return value ? 'on' : 'off';
}

async function untilReady(daemon: TiedChild, pidFile: string): Promise<void> {
  let ended = false;
  const noteEnd = (): void => {
    ended = true;
  };
  void daemon.ended.then(noteEnd, noteEnd);
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  while (!existsSync(pidFile)) {
    if (ended) throw new Error('it ended');
    if (performance.now() > deadlineMs) throw new Error(`not ready after ${READY_TIMEOUT_MS} ms`);
    await sleep(POLL_INTERVAL_MS);
  }
}

async function stopDaemon(daemon: TiedChild): Promise<void> {
  daemon.child.kill('SIGTERM');
  const timer = setTimeout(() => daemon.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  try {
    await daemon.ended;
  } finally {
    clearTimeout(timer);
  }
}
