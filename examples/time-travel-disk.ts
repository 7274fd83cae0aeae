/**
 * A disk that forgets nothing: every write is appended to a log, with its time, and the disk can be
 * opened as it was at any moment.
 *
 *     vhost-user-blk --socket-path now.sock --disk ./time-travel-disk.ts,log=disk.log,size-mib=64
 *     vhost-user-blk --socket-path then.sock \
 *       --disk ./time-travel-disk.ts,log=disk.log,at=2026-11-21T12:00:00Z
 *
 * A record of the log is a header of 32 bytes (magic, length, offset, time in milliseconds since
 * 1970) and the data. The first record is the disk's size. In memory there is, for each sector,
 * where in the log its newest data is.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import type { DiskObject } from 'vhostkit';

const SECTOR_BYTES = 512;
const HEADER_BYTES = 32;
const MAGIC = 0x74696d65;

interface LogRecord {
  readonly length: number;
  readonly offset: number;
  readonly timeMs: number;
}

function encode({ length, offset, timeMs }: LogRecord): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt32LE(length, 4);
  header.writeDoubleLE(offset, 8);
  header.writeDoubleLE(timeMs, 16);
  return header;
}

/** All whole records of a log: what a crash has left of the last one does not count. */
function* recordsOf(fd: number): Generator<LogRecord & { readonly dataAt: number }> {
  const header = Buffer.alloc(HEADER_BYTES);
  const { size } = fstatSync(fd);
  for (let at = 0; at + HEADER_BYTES <= size; ) {
    readSync(fd, header, 0, HEADER_BYTES, at);
    const length = header.readUInt32LE(4);
    const dataAt = at + HEADER_BYTES;
    if (header.readUInt32LE(0) !== MAGIC || dataAt + length > size) return;
    const [offset, timeMs] = [header.readDoubleLE(8), header.readDoubleLE(16)];
    yield { length, offset, timeMs, dataAt };
    at = dataAt + length;
  }
}

export default async function timeTravelDisk({
  log = 'disk.log',
  'size-mib': mib = '64',
  at = '',
}): Promise<DiskObject> {
  const isPast = at !== '';
  const untilMs = isPast ? Date.parse(at) : Number.POSITIVE_INFINITY;
  if (Number.isNaN(untilMs)) throw new Error(`at=${at} is no time such as 2026-11-21T12:00:00Z`);
  const fd = openSync(log, isPast ? 'r' : 'a+');
  /** Where in the log the data of a sector is. */
  const places = new Map<number, number>();
  let sizeBytes = 0;
  let end = 0;
  for (const { length, offset, timeMs, dataAt } of recordsOf(fd)) {
    end = dataAt + length;
    if (length === 0) sizeBytes = offset;
    if (timeMs > untilMs) continue;
    for (let done = 0; done < length; done += SECTOR_BYTES) {
      places.set((offset + done) / SECTOR_BYTES, dataAt + done);
    }
  }
  const reader = await open(log, isPast ? 'r' : 'r+');
  // Whatever is behind the last whole record was never acknowledged.
  if (!isPast) await reader.truncate(end);
  const append = (offset: number, data: Uint8Array): number => {
    const header = encode({ length: data.length, offset, timeMs: Date.now() });
    try {
      for (const part of [header, data]) {
        for (let done = 0; done < part.length; ) done += writeSync(fd, part, done);
      }
    } catch (error) {
      // Half a record would hide all that come after it.
      ftruncateSync(fd, end);
      throw error;
    }
    const dataAt = end + HEADER_BYTES;
    end = dataAt + data.length;
    return dataAt;
  };
  if (sizeBytes === 0) {
    sizeBytes = Number(mib) * 2 ** 20;
    append(sizeBytes, Buffer.alloc(0));
  }

  const disk: DiskObject = {
    sizeBytes,
    description: isPast ? `${log} as it was at ${new Date(untilMs).toISOString()}` : log,
    async read(buffer, offset) {
      for (let done = 0; done < buffer.length; done += SECTOR_BYTES) {
        const place = places.get((offset + done) / SECTOR_BYTES);
        if (place === undefined) buffer.fill(0, done, done + SECTOR_BYTES);
        else await reader.read(buffer, done, SECTOR_BYTES, place);
      }
    },
    async close() {
      await reader.close();
      closeSync(fd);
    },
  };
  // The past cannot be changed.
  if (isPast) return disk;
  return {
    ...disk,
    write(buffer, offset) {
      const dataAt = append(offset, buffer);
      for (let done = 0; done < buffer.length; done += SECTOR_BYTES) {
        places.set((offset + done) / SECTOR_BYTES, dataAt + done);
      }
    },
    flush() {
      fdatasyncSync(fd);
    },
  };
}
