/**
 * `npm run bench`: vhostkit next to qemu-storage-daemon on the same file in the same run, and fio
 * on the bare file as the limit. Rounds are interleaved, figures are medians, and the ratios are
 * what counts: absolute numbers hold for one machine and one hour.
 */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { arch, availableParallelism, cpus, release, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram } from '../tools/guest/programs.ts';
import { measureFootprints } from './footprint.ts';
import { LUKS, QCOW2 } from './format.ts';
import { startNbdkitPeers } from './nbdkit-peers.ts';
import { type BenchOptions, parseBenchOptions } from './options.ts';
import {
  DriverPeer,
  FioPeer,
  type Medium,
  type Peer,
  STORAGE_DAEMON,
  startStorageDaemon,
  startVhostkit,
} from './peers.ts';
import { CLIENT_CPU, doNotPin } from './processes.ts';
import { formatTable, type Result, summarise } from './statistics.ts';
import { type MediumReport, markdownSummary, type WorkloadReport } from './summary.ts';
import { type Measurement, WORKLOADS, type Workload, workloadName } from './workload.ts';

const TMPFS = '/dev/shm';
const NULL_DISK_BYTES = 2 ** 30;
/** Of the disk object, which is in memory. */
const OBJECT_MIB = 64;
const CHUNK_BYTES = 1024 * 1024;

/** A file with data in every block: holes would be read without touching the disk. */
function makeImage(path: string, sizeMib: number): void {
  const chunk = Buffer.alloc(CHUNK_BYTES, 'vhostkit');
  const fd = openSync(path, 'w');
  for (let written = 0; written < sizeMib; written++) writeSync(fd, chunk);
  closeSync(fd);
}

function planMedia(options: BenchOptions, shmFolder: string): Medium[] {
  const diskBytes = options.sizeMib * CHUNK_BYTES;
  const onDisk = join(options.folder, 'bench.img');
  const media: Medium[] = [
    { name: 'tmpfs', path: join(shmFolder, 'bench.img'), diskBytes, isDirect: false },
    { name: 'cached', path: onDisk, diskBytes, isDirect: false },
    { name: 'direct', path: onDisk, diskBytes, isDirect: true },
    {
      ...{ name: 'luks', path: join(shmFolder, 'bench.luks'), isDirect: false, format: LUKS },
      diskBytes: diskBytes - LUKS.overheadBytes,
    },
    {
      ...{ name: 'qcow2', path: join(shmFolder, 'bench.qcow2'), isDirect: false, format: QCOW2 },
      diskBytes,
    },
    { name: 'null', path: undefined, diskBytes: NULL_DISK_BYTES, isDirect: false },
    {
      name: 'object',
      path: undefined,
      diskBytes: OBJECT_MIB * CHUNK_BYTES,
      isDirect: false,
      isObject: true,
    },
    { name: 'client cached', path: onDisk, diskBytes, isDirect: false, isClient: true },
    { name: 'client direct', path: onDisk, diskBytes, isDirect: true, isClient: true },
    {
      name: 'client null',
      path: undefined,
      diskBytes: NULL_DISK_BYTES,
      isDirect: false,
      isClient: true,
    },
  ];
  return media.filter(({ name }) => options.media.test(name));
}

/** Our client library, by both ways to use it, and what it is compared with. */
async function startClients(medium: Medium, folder: string): Promise<Peer[]> {
  if (medium.path !== undefined) {
    const clients = [
      await DriverPeer.start('vhostkit', medium, 'blocking'),
      await DriverPeer.start('promises', medium, 'promises'),
    ];
    return findProgram('fio') === undefined
      ? clients
      : [...clients, new FioPeer(medium, CLIENT_CPU)];
  }
  if (findProgram(STORAGE_DAEMON) === undefined) return [];
  return [
    await startStorageDaemon(medium, folder, 'blocking', 'vhostkit'),
    await startStorageDaemon(medium, folder, 'promises', 'promises'),
  ];
}

async function startPeers(medium: Medium, options: BenchOptions, folder: string): Promise<Peer[]> {
  const peers: Peer[] = [];
  const wants = (name: string): boolean => options.peers.test(name);
  if (medium.isObject) {
    peers.push(await startVhostkit(medium, folder));
    return [...peers, ...(await startNbdkitPeers(wants, folder))];
  }
  if (wants('vhostkit')) peers.push(await startVhostkit(medium, folder));
  if (options.packed) peers.push(await startVhostkit(medium, folder, true));
  if (wants(STORAGE_DAEMON)) {
    if (findProgram(STORAGE_DAEMON) === undefined) {
      console.error('no qemu-storage-daemon to compare with: apt-get install qemu-system-common');
    } else {
      peers.push(await startStorageDaemon(medium, folder));
    }
  }
  if (wants('fio') && medium.path !== undefined && medium.format === undefined) {
    if (findProgram('fio') === undefined) {
      console.error('no fio for the limit: apt-get install fio');
    } else {
      peers.push(new FioPeer(medium));
    }
  }
  return peers;
}

async function measure(
  peers: readonly Peer[],
  workload: Workload,
  options: BenchOptions,
): Promise<Record<string, Result>> {
  const rounds = new Map<string, Measurement[]>();
  for (let round = 0; round < options.rounds; round++) {
    for (let turn = 0; turn < peers.length; turn++) {
      // Whoever came first in this round comes last in the next.
      const peer = peers[(turn + round) % peers.length];
      const measurement = await peer.run(workload, options.seconds);
      if (measurement === undefined) continue;
      rounds.set(peer.name, [...(rounds.get(peer.name) ?? []), measurement]);
    }
  }
  const results: Record<string, Result> = {};
  for (const peer of peers) {
    const measurements = rounds.get(peer.name);
    if (measurements) results[peer.name] = summarise(measurements, workload.blockBytes);
  }
  return results;
}

const HEADINGS = [
  '',
  'kIOPS',
  'MB/s',
  'p50 us',
  'p99 us',
  'p99.9 us',
  'cpu s/10^6',
  'cpu %',
  'vhostkit is',
];

function printResults(workload: string, results: Readonly<Record<string, Result>>): void {
  const own = results.vhostkit;
  const rows = Object.entries(results).map(([name, result]) => [
    name,
    (result.iops / 1000).toFixed(1),
    result.megabytesPerSecond.toFixed(0),
    result.p50Us.toFixed(1),
    result.p99Us.toFixed(1),
    result.p999Us.toFixed(1),
    result.cpuSecondsPerMillion.toFixed(2),
    // Of one processor: at 100 a server with one thread can do no more.
    ((result.cpuSecondsPerMillion * result.iops) / 1e4).toFixed(0),
    own === undefined || result === own ? '' : `${(own.iops / result.iops).toFixed(2)} x`,
  ]);
  console.log(`\n${workload}\n${formatTable([HEADINGS, ...rows])}`);
  const loopUs = results.promises?.loopUs;
  if (loopUs !== undefined) console.log(`event loop: ${loopUs.toFixed(2)} us for a request`);
}

async function runMedium(
  medium: Medium,
  options: BenchOptions,
  folder: string,
): Promise<MediumReport> {
  console.log(`\n=== ${medium.name}${medium.path === undefined ? '' : ` (${medium.path})`}`);
  const { path, format } = medium;
  if (path !== undefined) makeImage(path, options.sizeMib);
  if (path !== undefined) await format?.make(path);
  const peers = medium.isClient
    ? await startClients(medium, folder)
    : await startPeers(medium, options, folder);
  const workloads: WorkloadReport[] = [];
  try {
    for (const workload of WORKLOADS) {
      const name = workloadName(workload);
      if (!options.workloads.test(name)) continue;
      const results = await measure(peers, workload, options);
      printResults(name, results);
      workloads.push({ workload: name, results });
    }
  } finally {
    for (const peer of peers) await peer.close();
    if (medium.path !== undefined) rmSync(medium.path, { force: true });
  }
  return { medium: medium.name, workloads };
}

async function main(): Promise<void> {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const options = parseBenchOptions(process.argv.slice(2), resolve(root, 'bench-results'));
  if (!options.pin) doNotPin();
  mkdirSync(options.folder, { recursive: true });
  mkdirSync(dirname(options.output), { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), 'vhostkit-bench-'));
  const shmFolder = mkdtempSync(join(TMPFS, 'vhostkit-bench-'));
  const machine = {
    cpu: cpus()[0].model,
    cpus: availableParallelism(),
    kernel: release(),
    architecture: arch(),
    node: process.version,
    date: new Date().toISOString(),
    pinned: options.pin,
    rounds: options.rounds,
    secondsPerRun: options.seconds,
  };
  console.log(
    Object.entries(machine)
      .map(([key, value]) => `${key} ${value}`)
      .join(', '),
  );
  try {
    const media: MediumReport[] = [];
    for (const medium of planMedia(options, shmFolder)) {
      media.push(await runMedium(medium, options, folder));
    }
    const hasPeer = options.peers.test(STORAGE_DAEMON) && findProgram(STORAGE_DAEMON) !== undefined;
    const footprint = options.media.test('footprint')
      ? await measureFootprints(folder, hasPeer)
      : undefined;
    const report = { machine, media, footprint };
    console.log('\nIn brief: the rate of vhostkit, and how many times that of each peer it is:\n');
    console.log(markdownSummary(media));
    writeFileSync(options.output, `${JSON.stringify(report, null, 2)}\n`);
    console.log(`\nresults written to ${options.output}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    rmSync(shmFolder, { recursive: true, force: true });
  }
}

await main();
