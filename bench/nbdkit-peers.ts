/**
 * nbdkit with a disk in memory, by plugins in C, Python and shell, and nbdkit's own client: what
 * somebody uses who writes a disk of his own there.
 */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from '../tools/guest/programs.ts';
import type { Peer } from './peers.ts';
import { CLIENT_CPU, cpuSeconds, SERVER_CPU, spawnPinned } from './processes.ts';
import type { Measurement, Workload } from './workload.ts';

const MIB = 2 ** 20;
const START_LOOK_MS = 5;
/** The depth that nbdcopy is asked for. */
const DEPTH = 32;
const BLOCK_BYTES = 4096;

const PYTHON_DISK = `
disk = bytearray(b"vhostkit") * (16 * 1024 * 1024 // 8)
API_VERSION = 2
def open(readonly):
    return 1
def get_size(h):
    return len(disk)
def pread(h, buf, offset, flags):
    buf[:] = disk[offset:offset+len(buf)]
def pwrite(h, buf, offset, flags):
    disk[offset:offset+len(buf)] = buf
def flush(h, flags):
    pass
`;

/** The data is a file in memory: a shell has no memory of its own. */
const SHELL_DISK = `
case "$1" in
  get_size) echo 1M ;;
  pread) dd skip=$4 count=$3 if="$DISK" iflag=count_bytes,skip_bytes status=none || exit 1 ;;
  *) exit 2 ;;
esac
`;

/** A plugin, with a disk of a size that takes it about a second to copy. */
interface Plugin {
  readonly name: string;
  readonly sizeBytes: number;
  /** Its arguments, with what they name made in a folder. */
  prepare(folder: string): string[];
}

const PLUGINS: readonly Plugin[] = [
  {
    name: 'nbdkit memory',
    sizeBytes: 256 * MIB,
    prepare: () => ['memory', '256M'],
  },
  {
    name: 'nbdkit python',
    sizeBytes: 16 * MIB,
    prepare: (folder) => {
      const script = join(folder, 'disk.py');
      writeFileSync(script, PYTHON_DISK);
      return ['python', `script=${script}`];
    },
  },
  {
    name: 'nbdkit sh',
    sizeBytes: MIB,
    prepare: (folder) => {
      const [script, disk] = [join(folder, 'disk.sh'), join(folder, 'disk.raw')];
      writeFileSync(disk, Buffer.alloc(MIB, 'vhostkit'));
      writeFileSync(script, `#!/bin/sh\nDISK='${disk}'\n${SHELL_DISK}`, { mode: 0o700 });
      return ['sh', script];
    },
  },
];

/** A plugin's server, and nbdcopy as often as there is time for. */
class NbdkitPeer implements Peer {
  readonly name: string;
  readonly #plugin: Plugin;
  readonly #server: ChildProcess;
  readonly #socketPath: string;

  static async start(plugin: Plugin, folder: string): Promise<NbdkitPeer> {
    const socketPath = join(folder, `${plugin.name.replace(' ', '-')}.sock`);
    const args = ['--foreground', '--unix', socketPath, ...plugin.prepare(folder)];
    const server = spawnPinned(SERVER_CPU, 'nbdkit', args, {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    while (!existsSync(socketPath)) {
      if (server.exitCode !== null) throw new Error(`${plugin.name} did not start`);
      await sleep(START_LOOK_MS);
    }
    return new NbdkitPeer(plugin, server, socketPath);
  }

  private constructor(plugin: Plugin, server: ChildProcess, socketPath: string) {
    this.name = plugin.name;
    this.#plugin = plugin;
    this.#server = server;
    this.#socketPath = socketPath;
  }

  async run(workload: Workload, seconds: number): Promise<Measurement | undefined> {
    const { operation, pattern, blockBytes, depth, queues, polled } = workload;
    const isIts = operation === 'read' && pattern === 'random' && blockBytes === BLOCK_BYTES;
    if (!isIts || depth !== DEPTH || queues > 1 || polled) return undefined;
    const pid = this.#server.pid ?? 0;
    const before = cpuSeconds(pid);
    const startMs = performance.now();
    let requests = 0;
    let elapsed = 0;
    do {
      await this.#copy();
      requests += this.#plugin.sizeBytes / BLOCK_BYTES;
      elapsed = (performance.now() - startMs) / 1000;
    } while (elapsed < seconds);
    const unknown = Number.NaN;
    return {
      ...{ requests, seconds: elapsed, p50Us: unknown, p99Us: unknown, p999Us: unknown },
      serverCpuSeconds: cpuSeconds(pid) - before,
    };
  }

  /** Read the disk once, from its start to its end. */
  async #copy(): Promise<void> {
    const args = [
      ...['--connections=1', `--requests=${DEPTH}`, `--request-size=${BLOCK_BYTES}`],
      ...['--no-extents', `nbd+unix:///?socket=${this.#socketPath}`, 'null:'],
    ];
    const copy = spawnPinned(CLIENT_CPU, 'nbdcopy', args, {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const [code] = (await once(copy, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`nbdcopy: exit code ${code}`);
  }

  async close(): Promise<void> {
    const exited = once(this.#server, 'exit');
    this.#server.kill('SIGTERM');
    await exited;
  }
}

/** All plugins that are installed. */
export async function startNbdkitPeers(
  wants: (name: string) => boolean,
  folder: string,
): Promise<Peer[]> {
  const peers: Peer[] = [];
  const areThere = findProgram('nbdkit') !== undefined && findProgram('nbdcopy') !== undefined;
  for (const plugin of PLUGINS.filter(({ name }) => wants(name))) {
    const [, kind] = plugin.name.split(' ');
    if (areThere && spawnSync('nbdkit', ['--dump-plugin', kind]).status === 0) {
      peers.push(await NbdkitPeer.start(plugin, folder));
    } else {
      const packages = 'nbdkit nbdkit-plugin-python libnbd-bin';
      console.error(`no ${plugin.name} to compare with: apt-get install ${packages}`);
    }
  }
  return peers;
}
