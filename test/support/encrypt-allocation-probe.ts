/** Measures what requests of encrypted disks leave on the heap: see `heap-growth.ts`. */
import { DiskOperation, DiskRequests } from '../../src/storage/index.ts';
import { cipherSpec } from '../../src/storage/luks/cipher-spec.ts';
import { EncryptChannel } from '../../src/storage/luks/encrypt-channel.ts';
import { NativeSectorCipher } from '../../src/storage/luks/native-sector-cipher.ts';
import { SharedLatch } from '../../src/storage/luks/shared-latch.ts';
import { ZeroPiece } from '../../src/storage/luks/zero-piece.ts';
import { createReactor, Mapping } from '../../src/sys/index.ts';
import { bytesPerRequest } from './heap-growth.ts';

const REQUESTS = 20_000;
const REQUEST_BYTES = 4096;

/** Bytes for each request. */
export interface EncryptAllocation {
  readonly reads: number;
  readonly writes: number;
}

/** @param sectorBytes - unit of encryption. */
function measure(operation: number, sectorBytes: number): number {
  const key = Buffer.from(Array.from({ length: 64 }, (_, index) => index));
  const cipher = NativeSectorCipher.open(cipherSpec('aes-xts-plain64', 64), key, sectorBytes);
  if (cipher === undefined) throw new Error('OpenSSL cannot be reached');
  const { reactor } = createReactor('blocking', 'epoll');
  const memory = Mapping.anonymous(REQUEST_BYTES);
  const requests = new DiskRequests(1);
  const data = {
    ...{ cipher, sectorBytes, blockBytes: sectorBytes, dataOffset: 2 ** 21, firstNumber: 0 },
    ...{ latch: new SharedLatch(), zeros: new ZeroPiece() },
  };
  const channel = new EncryptChannel(reactor, requests, { onDiskDone: () => {} }, data, () => ({
    start: () => 0,
    close: () => {},
  }));
  const { address } = memory;
  const low = address | 0;
  const high = (address / 2 ** 32) | 0;
  const found = bytesPerRequest((count) => {
    for (let index = 0; index < count; index++) {
      requests.operation[0] = operation;
      requests.offsetLow[0] = (index % 1000) * REQUEST_BYTES;
      requests.lengthBytes[0] = REQUEST_BYTES;
      requests.iovecs.clear(0);
      requests.iovecs.push(0, low, high, REQUEST_BYTES);
      if (channel.start(0) !== 0) throw new Error('a request failed');
    }
  }, REQUESTS);
  channel.close();
  return found;
}

const results: Record<number, EncryptAllocation> = {};
for (const sectorBytes of [512, 4096]) {
  const reads = measure(DiskOperation.READ, sectorBytes);
  const writes = measure(DiskOperation.WRITE, sectorBytes);
  results[sectorBytes] = { reads, writes };
}
process.stdout.write(JSON.stringify(results));
