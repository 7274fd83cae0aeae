/**
 * What disks and filters that need no promises cost: `node dist/bench/filters.js [requests] [rounds]`.
 *
 * Requests of 4 KiB at random places, one after the other, by one channel in this thread, as a queue
 * thread hands them over; rounds of all chains are interleaved, and the least counts. It is processor
 * time, not time: what else the machine does matters little. A queue's own work for a request, which is
 * not in it, is about 250 ns.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Disk,
  type DiskChannel,
  DiskOperation,
  DiskRequests,
  openDisk,
  parseDisk,
} from '../src/storage/index.ts';
import { createReactor, Mapping } from '../src/sys/index.ts';

const DISK_BYTES = 2 ** 26;
const BLOCK_BYTES = 4096;
const RAM_FOLDER = '/dev/shm';
/** Chains over a disk, by name; the first is the disk itself. */
const CHAINS: Readonly<Record<string, (disk: string) => string>> = {
  alone: (disk) => disk,
  concat: (disk) => `concat(${disk})`,
  error: (disk) => `error(${disk}, rate=0.000000001)`,
  throttle: (disk) => `throttle(${disk}, iops-total=1000000000)`,
  stats: (disk) => `stats(${disk})`,
  'stats(throttle)': (disk) => `stats(throttle(${disk}, iops-total=1000000000))`,
};

/** A chain that is open, with what its rounds took. */
class Lane {
  readonly name: string;
  readonly #disk: Disk;
  readonly #requests = new DiskRequests(1);
  readonly #reactor = createReactor('blocking', 'epoll').reactor;
  readonly #memory = Mapping.anonymous(BLOCK_BYTES);
  readonly #channel: DiskChannel;
  leastNs = Number.POSITIVE_INFINITY;

  constructor(name: string, disk: Disk) {
    this.name = name;
    this.#disk = disk;
    const onDiskDone = (): void => {
      throw new Error(`${name}: a request was not done at once`);
    };
    this.#channel = disk.openChannel(this.#reactor, this.#requests, { onDiskDone });
  }

  /** Do so many requests. */
  round(operation: number, count: number): void {
    const requests = this.#requests;
    const { address } = this.#memory;
    const [low, high] = [address | 0, (address / 2 ** 32) | 0];
    const { user, system } = process.cpuUsage();
    let failed = 0;
    for (let index = 0; index < count; index++) {
      requests.operation[0] = operation;
      requests.offsetLow[0] =
        (Math.imul(index, 0x9e3779b1) >>> 6) & -BLOCK_BYTES & (DISK_BYTES - 1);
      requests.lengthBytes[0] = BLOCK_BYTES;
      requests.iovecs.clear(0);
      requests.iovecs.push(0, low, high, BLOCK_BYTES);
      if (this.#channel.start(0) !== 0) failed += 1;
    }
    if (failed > 0) throw new Error(`${this.name}: ${failed} requests were not done`);
    const used = process.cpuUsage({ user, system });
    this.leastNs = Math.min(this.leastNs, ((used.user + used.system) * 1000) / count);
  }

  async close(): Promise<void> {
    this.#channel.close();
    this.#reactor[Symbol.dispose]();
    this.#requests[Symbol.dispose]();
    this.#memory.close();
    await this.#disk.close();
  }
}

async function main(count: number, rounds: number): Promise<void> {
  const folder = mkdtempSync(join(RAM_FOLDER, 'bench-filters-'));
  const image = join(folder, 'image');
  writeFileSync(image, Buffer.alloc(DISK_BYTES, 1));
  const bases = {
    null: `null(${DISK_BYTES})`,
    'file in memory': `file(${image}, locking=off)`,
    memory: `memory(file=${image})`,
    pattern: `pattern(${DISK_BYTES})`,
  };
  process.stdout.write(
    '| disk | chain | read: ns | of the disk alone | write: ns | of the disk alone |\n',
  );
  process.stdout.write('|---|---|---|---|---|---|\n');
  for (const [base, disk] of Object.entries(bases)) {
    const chains = Object.entries(CHAINS).slice(
      0,
      disk.startsWith('file') || base === 'null' ? undefined : 1,
    );
    const lanes = await Promise.all(
      chains.map(async ([name, chain]) => new Lane(name, await openDisk(parseDisk(chain(disk))))),
    );
    const rows = lanes.map(({ name }) => [base, name]);
    // What is written is not a pattern.
    const operations =
      base === 'pattern' ? [DiskOperation.READ] : [DiskOperation.READ, DiskOperation.WRITE];
    for (const operation of operations) {
      for (const lane of lanes) lane.leastNs = Number.POSITIVE_INFINITY;
      for (let round = 0; round < rounds; round++) {
        for (const lane of lanes) lane.round(operation, count);
      }
      const alone = lanes[0].leastNs;
      for (const [index, { leastNs }] of lanes.entries()) {
        rows[index].push(leastNs.toFixed(0), (leastNs / alone).toFixed(2));
      }
    }
    for (const row of rows) process.stdout.write(`| ${row.join(' | ')} |\n`);
    for (const lane of lanes) await lane.close();
  }
  rmSync(folder, { recursive: true });
}

await main(Number(process.argv[2] ?? 200_000), Number(process.argv[3] ?? 7));
