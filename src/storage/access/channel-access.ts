/** The way into a disk through a channel: for all that are served without promises. */
import { bufferAddress, Errno, PENDING, SystemError } from '../../sys/index.ts';
import type { Disk, DiskChannel, DiskRequestHandler } from '../disk.ts';
import { DiskRequests } from '../disk-requests.ts';
import { Fifo } from '../fifo.ts';
import { type AccessRequest, failure, RequestingAccess } from './requesting-access.ts';
import { ThreadReactor } from './thread-reactor.ts';

/** Requests under way at once; others wait. */
const SLOTS = 256;

/** Who waits for a request. */
interface Waiting {
  readonly request: AccessRequest;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** See the module's comment. */
export class ChannelAccess extends RequestingAccess implements DiskRequestHandler {
  readonly #thread = ThreadReactor.enter();
  readonly #requests = new DiskRequests(SLOTS);
  readonly #channel: DiskChannel;
  readonly #free = Array.from({ length: SLOTS }, (_, index) => SLOTS - 1 - index);
  /** By slot; they hold on to the buffers, which the kernel is at. */
  readonly #waiting: (Waiting | undefined)[] = new Array(SLOTS).fill(undefined);
  /** Those that found no free slot. */
  readonly #queue = new Fifo<Waiting>();

  constructor(disk: Disk) {
    super(disk);
    this.#channel = disk.openChannel(this.#thread.reactor, this.#requests, this);
  }

  protected request(request: AccessRequest): void | Promise<void> {
    const slot = this.#free.pop();
    if (slot === undefined) {
      return new Promise((resolve, reject) => this.#queue.push({ request, resolve, reject }));
    }
    const result = this.#start(slot, request);
    if (result === PENDING) {
      return new Promise((resolve, reject) => {
        this.#waiting[slot] = { request, resolve, reject };
      });
    }
    this.#release(slot);
    if (result !== 0) throw failure(request, result);
    return undefined;
  }

  /** 0, a negative errno, or `PENDING`. */
  #start(slot: number, { operation, flags, offset, length, buffer }: AccessRequest): number {
    const requests = this.#requests;
    requests.operation[slot] = operation;
    requests.flags[slot] = flags;
    requests.offsetLow[slot] = offset | 0;
    requests.offsetHigh[slot] = (offset / 2 ** 32) | 0;
    requests.lengthBytes[slot] = length;
    requests.iovecs.clear(slot);
    if (buffer !== undefined) {
      const address = bufferAddress(buffer);
      requests.iovecs.push(slot, address | 0, (address / 2 ** 32) | 0, length);
    }
    const result = this.#channel.start(slot);
    if (result === PENDING) this.#thread.began();
    return result;
  }

  onDiskDone(slot: number, result: number): void {
    const waiting = this.#waiting[slot];
    this.#waiting[slot] = undefined;
    this.#thread.ended();
    this.#release(slot);
    if (waiting !== undefined) settle(waiting, result);
  }

  /** A slot is free: those that wait get it, one after the other, until one keeps it. */
  #release(slot: number): void {
    for (;;) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      const result = this.#start(slot, next.request);
      if (result === PENDING) {
        this.#waiting[slot] = next;
        return;
      }
      settle(next, result);
    }
    this.#free.push(slot);
    this.tellIfIdle();
  }

  protected get isIdle(): boolean {
    return this.#free.length === SLOTS;
  }

  close(): void {
    const busy = SLOTS - this.#free.length;
    if (busy > 0) throw new SystemError('close', Errno.EBUSY, `${busy} requests are under way`);
    this.#channel.close();
    this.#requests[Symbol.dispose]();
    this.#thread.leave();
  }
}

function settle({ request, resolve, reject }: Waiting, result: number): void {
  if (result === 0) resolve();
  else reject(failure(request, result));
}
