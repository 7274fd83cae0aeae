/** Program: serves many requests and prints, as JSON, how many bytes of heap each left behind. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { DirtyLog } from '../../src/memory/index.ts';
import { DelayDisk } from '../../src/storage/filters/delay.ts';
import { ErrorDisk, settingsOf } from '../../src/storage/filters/error/error.ts';
import { StreamNumbers } from '../../src/storage/filters/random-numbers.ts';
import { ThrottleDisk } from '../../src/storage/filters/throttle/throttle.ts';
import { ThrottleGroup } from '../../src/storage/filters/throttle/throttle-group.ts';
import { limitsOf } from '../../src/storage/filters/throttle/throttle-limits.ts';
import {
  type Disk,
  file,
  NullDisk,
  openDisk,
  openFileDisk,
  StatsDisk,
  stats,
  throttle,
} from '../../src/storage/index.ts';
import {
  type Clock,
  createReactor,
  type EngineName,
  isMemoryBacked,
  Open,
  openFile,
} from '../../src/sys/index.ts';
import { QueueLog, RequestType } from '../../src/virtio-blk/index.ts';
import { inflightLogBytes, RingFeature, type RingFormat } from '../../src/virtqueue/index.ts';
import { headerBytes } from './block-chains.ts';
import { bytesPerRequest } from './heap-growth.ts';
import { ALL_FEATURES } from './parser-bench.ts';
import { missingEngine } from './reactors.ts';
import { NULL_DISK, ServedQueue } from './served-queue.ts';
import { SteppedClock } from './stepped-disk.ts';

/** Bytes of heap for each request; or why that cannot be told, `true`: the folder is in memory. */
export interface AllocationResults {
  readonly nullDisk: number;
  /** With a packed ring. */
  readonly packedRing: number;
  /** With a log of what is under way, by the ring's format. */
  readonly tracked: { readonly split: number; readonly packed: number };
  /** The same, with all writes to guest memory logged. */
  readonly loggedNullDisk: number;
  readonly uringReads: number | string | true;
  readonly threadReads: number;
  readonly threadWrites: number;
  /** Of `stats(throttle(file))`, where nothing has to wait. */
  readonly filteredReads: number;
  readonly filteredWrites: number;
  /** Of filters over a disk that does nothing: as they pass on, and as they hold back. */
  readonly passing: number;
  readonly throttled: number;
  readonly delayed: number;
}

const BATCH = 32;
const BLOCK = 4096;

/** One request after the other of a few kinds, without any allocation on the driver's side. */
class Load {
  readonly #served: ServedQueue;
  readonly #turn: () => void;
  readonly #start: number;
  readonly #types: readonly number[];

  constructor(served: ServedQueue, types: readonly number[], turn: () => void) {
    this.#served = served;
    this.#types = types;
    this.#turn = turn;
    this.#start = served.ram.regions[0].guestAddress;
    for (const [index, type] of types.entries()) {
      served.ram.at(0, index * 2 * BLOCK, 16).bytes.set(headerBytes(type, index * 8));
    }
  }

  run(requests: number): void {
    const { driver } = this.#served;
    const types = this.#types;
    let done = 0;
    while (done < requests) {
      for (let index = 0; index < BATCH; index++) this.#push(index % types.length);
      driver.publish();
      driver.requestCalls();
      let answered = 0;
      while (answered < BATCH) {
        this.#turn();
        while (driver.takeUsed() >= 0) answered += 1;
      }
      done += BATCH;
    }
  }

  #push(index: number): void {
    const { driver } = this.#served;
    const at = this.#start + index * 2 * BLOCK;
    const low = at | 0;
    const isRead = this.#types[index] === RequestType.IN;
    const isFlush = this.#types[index] === RequestType.FLUSH;
    driver.begin(isFlush ? 2 : 3);
    driver.add(low, 0, 16, false);
    if (!isFlush) driver.add(low + 512, 0, BLOCK, isRead);
    driver.add(low + 16, 0, 1, true);
    driver.commit();
  }
}

const { IN, OUT, FLUSH } = RequestType;

/** With in-flight tracking. */
function probeTracked(format: RingFormat): number {
  const packed = format === 'packed' ? 1n << BigInt(RingFeature.RING_PACKED) : 0n;
  const memory = new ArrayBuffer(inflightLogBytes(256, format));
  const inflight = { memory, queueSize: 256 };
  using served = new ServedQueue({ size: 256, features: ALL_FEATURES | packed, inflight });
  const load = new Load(served, [IN, OUT, IN, FLUSH], () => served.queue.poll());
  return bytesPerRequest((requests) => load.run(requests), 200_000);
}

function probeNullDisk(features: bigint, isLogged = false): number {
  using served = new ServedQueue({ size: 256, features });
  if (isLogged) {
    const log = new DirtyLog(new Uint8Array(2 ** 18));
    const options = { log, coversData: true, usedAddress: 4096, logFd: undefined };
    served.queue.setLog(new QueueLog(options));
  }
  const load = new Load(served, [IN, OUT, IN, FLUSH], () => served.queue.poll());
  return bytesPerRequest((requests) => load.run(requests), 200_000);
}

/** Filters over a disk that does nothing, on a clock that goes on with each turn. */
function probeFilters(make: (below: Disk, clock: Clock) => Disk): number {
  const clock = new SteppedClock();
  const realNow = performance.now;
  performance.now = () => clock.nowMs;
  const disk = make(new NullDisk(NULL_DISK), clock);
  const { reactor } = createReactor('blocking', 'epoll');
  using served = new ServedQueue({ size: 256, disk, reactor });
  reactor.addSource(served.queue);
  const load = new Load(served, [IN, OUT, IN, FLUSH], () => {
    clock.nowMs += 1;
    reactor.turn();
  });
  const result = bytesPerRequest((requests) => load.run(requests), 100_000);
  reactor.removeSource(served.queue);
  served.queue.close();
  reactor[Symbol.dispose]();
  void disk.close();
  performance.now = realNow;
  return result;
}

async function probeFilteredFile(path: string, type: number): Promise<number> {
  return probeDisk('epoll', await openDisk(stats(throttle(file(path), { iopsTotal: 1e9 }))), type);
}

function probeFileDisk(engine: EngineName, path: string, type: number): number {
  return probeDisk(engine, openFileDisk({ path }), type);
}

function probeDisk(engine: EngineName, disk: Disk, type: number): number {
  const { reactor } = createReactor('blocking', engine);
  using served = new ServedQueue({ size: 256, disk, reactor });
  reactor.addSource(served.queue);
  const load = new Load(served, [type], () => reactor.turn());
  const result = bytesPerRequest((requests) => load.run(requests), 20_000);
  reactor.removeSource(served.queue);
  served.queue.close();
  reactor[Symbol.dispose]();
  void disk.close();
  return result;
}

/** Limits of bytes and of requests, those of requests the lower. */
function groupOf(iopsTotal: number): ThrottleGroup {
  return ThrottleGroup.create(limitsOf({ iopsTotal, bpsRead: 1e15, bpsWrite: 1e15 }), 0);
}

/** In memory there is nothing for an engine to wait for: such a file is read by system calls. */
function isInMemory(path: string): boolean {
  using fd = openFile(path, Open.RDONLY);
  return isMemoryBacked(fd.number);
}

const folder = mkdtempSync(join(tmpdir(), 'vhostkit-'));
const path = join(folder, 'image');
writeFileSync(path, new Uint8Array(2 ** 20));
const results: AllocationResults = {
  nullDisk: probeNullDisk(ALL_FEATURES),
  packedRing: probeNullDisk(ALL_FEATURES | (1n << BigInt(RingFeature.RING_PACKED))),
  tracked: { split: probeTracked('split'), packed: probeTracked('packed') },
  loggedNullDisk: probeNullDisk(ALL_FEATURES, true),
  uringReads:
    missingEngine('io_uring') ?? (isInMemory(path) || probeFileDisk('io_uring', path, IN)),
  threadReads: probeFileDisk('epoll', path, IN),
  threadWrites: probeFileDisk('epoll', path, OUT),
  filteredReads: await probeFilteredFile(path, IN),
  filteredWrites: await probeFilteredFile(path, OUT),
  passing: probeFilters((below) => {
    const settings = settingsOf({ rate: 1e-9 }, 0);
    return new StatsDisk(new ThrottleDisk(new ErrorDisk(below, settings), groupOf(1e9)));
  }),
  throttled: probeFilters((below, clock) => {
    return new StatsDisk(new ThrottleDisk(below, groupOf(10_000), clock), { clock });
  }),
  delayed: probeFilters((below, clock) => {
    const streams = new StreamNumbers().buffer;
    const settings = { delaysMs: [2, 3, 0, -1, -1], jitterMs: 5, seed: 1, streams };
    return new DelayDisk(below, settings, clock);
  }),
};
rmSync(folder, { recursive: true });
process.stdout.write(`${JSON.stringify(results)}\n`);
