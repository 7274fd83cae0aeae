/** What a server costs besides requests: time to start, memory, and processor time when idle. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Medium, type ServerPeer, startStorageDaemon, startVhostkit } from './peers.ts';
import { Client } from './processes.ts';
import { formatTable, median } from './statistics.ts';
import type { Workload } from './workload.ts';

const NULL_MEDIUM: Medium = { name: 'null', path: undefined, diskBytes: 2 ** 30, isDirect: false };
const STARTS = 5;
const IDLE_SECONDS = 3;
/** After the last request, until a server counts as idle. */
const SETTLE_MS = 500;
const FURTHER_DISKS = 8;
const KIB_PER_MB = 1000 / 1.024;
const SOME_WORK: Workload = {
  operation: 'read',
  pattern: 'random',
  blockBytes: 4096,
  depth: 32,
  queues: 1,
  polled: false,
};

/** A server's footprint. */
export interface Footprint {
  /** From exec until the socket is there, in milliseconds. */
  readonly startMs: number;
  /** Resident memory after a second of requests, in megabytes, guest memory not counted. */
  readonly residentMb: number;
  /** How often any of its threads woke up in a second of idleness, with a client connected. */
  readonly idleWakeUps: number;
}

function statusField(pid: number | string, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
}

/** Resident memory in megabytes; shared memory is the guest's. */
function residentMb(pid: number): number {
  return (statusField(pid, 'VmRSS') - statusField(pid, 'RssShmem')) / KIB_PER_MB;
}

function wakeUps(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads
    .map((thread) => statusField(`${pid}/task/${thread}`, 'voluntary_ctxt_switches'))
    .reduce((sum, count) => sum + count, 0);
}

async function footprintOf(start: () => Promise<ServerPeer>): Promise<Footprint> {
  const starts: number[] = [];
  for (let round = 1; round < STARTS; round++) {
    const peer = await start();
    starts.push(peer.startMs);
    await peer.close();
  }
  const peer = await start();
  starts.push(peer.startMs);
  try {
    await peer.run(SOME_WORK, 1);
    await sleep(SETTLE_MS);
    const before = wakeUps(peer.pid);
    await sleep(IDLE_SECONDS * 1000);
    const idleWakeUps = (wakeUps(peer.pid) - before) / IDLE_SECONDS;
    return { startMs: median(starts), residentMb: residentMb(peer.pid), idleWakeUps };
  } finally {
    await peer.close();
  }
}

/** Megabytes of each further disk in one process, with a client that has done some work. */
async function furtherDiskMb(folder: string): Promise<number> {
  const host = fork(fileURLToPath(new URL('./many-disks.js', import.meta.url)));
  const clients: Client[] = [];
  const addDisk = async (index: number): Promise<void> => {
    const socketPath = join(folder, `disk-${index}.sock`);
    const ready = once(host, 'message');
    host.send(socketPath);
    await ready;
    const client = await Client.connectTo(socketPath);
    clients.push(client);
    await client.run({ workload: SOME_WORK, seconds: 0.5, diskBytes: NULL_MEDIUM.diskBytes });
  };
  try {
    const pid = host.pid ?? 0;
    await addDisk(0);
    const before = residentMb(pid);
    for (let index = 1; index <= FURTHER_DISKS; index++) await addDisk(index);
    return (residentMb(pid) - before) / FURTHER_DISKS;
  } finally {
    for (const client of clients) await client.close();
    host.disconnect();
  }
}

/** Measure and print. */
export async function measureFootprints(
  folder: string,
  withStorageDaemon: boolean,
): Promise<{ servers: Record<string, Footprint>; furtherDiskMb: number }> {
  const servers: Record<string, Footprint> = {
    vhostkit: await footprintOf(() => startVhostkit(NULL_MEDIUM, folder)),
  };
  if (withStorageDaemon) {
    const name = 'qemu-storage-daemon';
    servers[name] = await footprintOf(() => startStorageDaemon(NULL_MEDIUM, folder));
  }
  const further = await furtherDiskMb(folder);
  const rows = Object.entries(servers).map(([name, footprint]) => [
    name,
    footprint.startMs.toFixed(0),
    footprint.residentMb.toFixed(0),
    footprint.idleWakeUps.toFixed(1),
  ]);
  const headings = ['', 'start ms', 'resident MB', 'idle wake-ups/s'];
  console.log(`\n=== footprint\n${formatTable([headings, ...rows])}`);
  console.log(`each further disk in a vhostkit process: ${further.toFixed(1)} MB`);
  return { servers, furtherDiskMb: further };
}
