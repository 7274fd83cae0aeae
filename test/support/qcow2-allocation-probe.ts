/**
 * Program: has many requests done on a qcow2 image whose tables are in memory, and prints, as JSON, how
 * many bytes of heap each has left behind, and whether any of them was not done on the spot.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  DiskOperation,
  DiskRequests,
  file,
  openAccess,
  openDisk,
  qcow2,
} from '../../src/storage/index.ts';
import { createQcow2 } from '../../src/storage/tools.ts';
import { createReactor, Mapping } from '../../src/sys/index.ts';
import { bytesPerRequest } from './heap-growth.ts';

/** See the module's comment. */
export interface Qcow2Allocations {
  /** Of 4096 bytes in one cluster. */
  readonly reads: number;
  readonly writes: number;
  /** Of clusters that do not lie one after the other. */
  readonly splitReads: number;
  readonly splitWrites: number;
  /** Where nothing has been written. */
  readonly zeros: number;
  /** Requests that were not done by `start`. */
  readonly late: number;
}

const CLUSTER_BYTES = 65536;
const CLUSTERS = 64;
const REQUESTS = 100_000;

async function probe(folder: string): Promise<Qcow2Allocations> {
  const path = join(folder, 'image.qcow2');
  await createQcow2(path, { sizeBytes: 2 * CLUSTERS * CLUSTER_BYTES });
  const disk = await openDisk(qcow2(file(path)));
  const access = openAccess(disk);
  // From the end to the start: no cluster is followed by the one that follows it on the disk.
  for (let cluster = CLUSTERS - 1; cluster >= 0; cluster--) {
    await access.write(Buffer.alloc(CLUSTER_BYTES, cluster), cluster * CLUSTER_BYTES);
  }
  await access.read(Buffer.alloc(4096), CLUSTERS * CLUSTER_BYTES);
  access.close();
  let late = 0;
  const { reactor } = createReactor('blocking', 'auto');
  const requests = new DiskRequests(1);
  const channel = disk.openChannel(reactor, requests, { onDiskDone: () => {} });
  const memory = Mapping.anonymous(2 * CLUSTER_BYTES);
  const { address } = memory;
  const load = (operation: number, from: number, bytes: number): number =>
    bytesPerRequest((count) => {
      for (let index = 0; index < count; index++) {
        const offset = from + (index % (CLUSTERS - 2)) * CLUSTER_BYTES;
        requests.operation[0] = operation;
        requests.offsetLow[0] = offset;
        requests.offsetHigh[0] = 0;
        requests.lengthBytes[0] = bytes;
        requests.iovecs.clear(0);
        requests.iovecs.push(0, address | 0, (address / 2 ** 32) | 0, bytes);
        if (channel.start(0) !== 0) late += 1;
      }
    }, REQUESTS);
  const split = CLUSTER_BYTES + 8192;
  const result = {
    reads: load(DiskOperation.READ, 8192, 4096),
    writes: load(DiskOperation.WRITE, 8192, 4096),
    splitReads: load(DiskOperation.READ, 4096, split),
    splitWrites: load(DiskOperation.WRITE, 4096, split),
    zeros: load(DiskOperation.READ, CLUSTERS * CLUSTER_BYTES, 4096),
  };
  channel.close();
  reactor[Symbol.dispose]();
  await disk.close();
  return { ...result, late };
}

const folder = mkdtempSync('/dev/shm/vhostkit-');
try {
  console.log(JSON.stringify(await probe(folder)));
} finally {
  rmSync(folder, { recursive: true });
}
