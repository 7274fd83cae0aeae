/** A client that does nothing wrong: it gets its data back, or the back-end fails it. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Reactor, SystemError } from '../src/sys/index.ts';
import { BlockDriver, GuestRam } from '../src/testing/index.ts';
import { RequestType, SECTOR_BYTES } from '../src/virtio-blk/index.ts';
import { DISK_SECTORS, WINDOW_START } from './geometry.ts';

/** What it does. */
export interface HonestUse {
  readonly reactor: Reactor;
  readonly socketPath: string;
  /** Write, too, to the window; otherwise it only reads. */
  readonly mayWrite: boolean;
  /** All the time it gets: what is not served within that is not served. */
  readonly limitMs: number;
  /** Differs from use to use: says where it writes, and what. */
  readonly number: number;
}

const SECTORS = 8;
const QUEUE_SIZE = 4;
const RAM_BYTES = 2 ** 21;
/** Between tries to connect while others wait to be accepted. */
const BUSY_MS = 5;

/** Bytes that are no header of a request, wherever one may look: the high bit is set in each. */
function dataOf(number: number): Uint8Array {
  const bytes = new Uint8Array(SECTORS * SECTOR_BYTES);
  return bytes.map((_, index) => 0x80 | (Math.imul(number + index, 0x9e3779b1) >>> 25));
}

/** Connect; `undefined` if too many others wait to be accepted, and some time has passed. */
async function openIfFree({
  reactor,
  socketPath,
  limitMs,
}: HonestUse): Promise<BlockDriver | undefined> {
  const ram = new GuestRam([{ guestAddress: 0x1_0000_0000, sizeBytes: RAM_BYTES }]);
  try {
    return await BlockDriver.open({
      ...{ reactor, socketPath, ram },
      queueSize: QUEUE_SIZE,
      timeoutMs: limitMs,
    });
  } catch (error) {
    ram[Symbol.dispose]();
    if (!(error instanceof SystemError) || error.code !== 'EAGAIN') throw error;
    await delay(BUSY_MS);
    return undefined;
  }
}

async function use(driver: BlockDriver, { mayWrite, number }: HonestUse): Promise<void> {
  const places = (DISK_SECTORS - WINDOW_START) / SECTORS;
  const sector = WINDOW_START + (number % places) * SECTORS;
  const data = dataOf(number);
  if (mayWrite) await driver.write(sector, data);
  const read = await driver.read(sector, SECTORS);
  if (mayWrite && Buffer.compare(read, data) !== 0) {
    throw new Error(`sector ${sector} does not read as it was written`);
  }
  const flushed = await driver.request({ type: RequestType.FLUSH });
  if (flushed.status !== 0) throw new Error(`flush: status ${flushed.status}`);
}

/** Connect, write, read, flush, hang up. Rejects with what is wrong if that cannot be done. */
export async function useHonestly(options: HonestUse): Promise<void> {
  const { limitMs } = options;
  let driver: BlockDriver | undefined;
  let isLate = false;
  const work = async (): Promise<void> => {
    while (driver === undefined && !isLate) driver = await openIfFree(options);
    if (isLate) driver?.close();
    else if (driver !== undefined) await use(driver, options);
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      isLate = true;
      reject(new Error(`nothing comes of it within ${limitMs} ms`));
    }, limitMs);
  });
  try {
    await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
    driver?.close();
  }
}
