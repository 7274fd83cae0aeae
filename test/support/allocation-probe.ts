/** Program: serves many requests and prints, as JSON, how many bytes of heap each left behind. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { DirtyLog } from '../../src/memory/index.ts';
import { openDisk } from '../../src/storage/index.ts';
import {
  createReactor,
  type EngineName,
  isMemoryBacked,
  Open,
  openFile,
} from '../../src/sys/index.ts';
import { QueueLog, RequestType } from '../../src/virtio-blk/index.ts';
import { RingFeature } from '../../src/virtqueue/index.ts';
import { headerBytes } from './block-chains.ts';
import { bytesPerRequest } from './heap-growth.ts';
import { ALL_FEATURES } from './parser-bench.ts';
import { missingEngine } from './reactors.ts';
import { ServedQueue } from './served-queue.ts';

/** Bytes of heap for each request; or why that cannot be told, `true`: the folder is in memory. */
export interface AllocationResults {
  readonly nullDisk: number;
  /** With a packed ring. */
  readonly packedRing: number;
  /** The same, with all writes to guest memory logged. */
  readonly loggedNullDisk: number;
  readonly uringReads: number | string | true;
  readonly threadReads: number;
  readonly threadWrites: number;
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

function probeFileDisk(engine: EngineName, path: string, type: number): number {
  const disk = openDisk({ source: { kind: 'file', path } });
  const { reactor } = createReactor('blocking', engine);
  using served = new ServedQueue({ size: 256, disk, reactor });
  reactor.addSource(served.queue);
  const load = new Load(served, [type], () => reactor.turn());
  const result = bytesPerRequest((requests) => load.run(requests), 20_000);
  reactor.removeSource(served.queue);
  served.queue.close();
  reactor[Symbol.dispose]();
  disk.close();
  return result;
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
  loggedNullDisk: probeNullDisk(ALL_FEATURES, true),
  uringReads:
    missingEngine('io_uring') ?? (isInMemory(path) || probeFileDisk('io_uring', path, IN)),
  threadReads: probeFileDisk('epoll', path, IN),
  threadWrites: probeFileDisk('epoll', path, OUT),
};
rmSync(folder, { recursive: true });
process.stdout.write(`${JSON.stringify(results)}\n`);
