/** A disk channel that notes what it is asked for, and answers what a test tells it to. */
import type { DiskChannel, DiskRequestHandler, DiskRequests } from '../../src/storage/index.ts';
import { PENDING } from '../../src/sys/index.ts';

/** A request as the disk got it. */
export interface AskedOfDisk {
  readonly operation: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly flags: number;
}

/** See the module's comment. */
export class ScriptedChannel implements DiskChannel {
  readonly asked: AskedOfDisk[] = [];
  isClosed = false;
  isAbandoned = false;
  isHastened = false;
  nobodyWaits = false;
  /** What `start` returns, in turn: 0, a negative errno or `PENDING`; then 0 for ever. */
  results: number[] = [];
  readonly #pending: number[] = [];
  #requests: DiskRequests | undefined;
  #handler: DiskRequestHandler | undefined;

  /** For `ServedQueueOptions.openChannel`. */
  readonly open = (requests: DiskRequests, handler: DiskRequestHandler): this => {
    this.#requests = requests;
    this.#handler = handler;
    return this;
  };

  /** How many requests are pending. */
  get pending(): number {
    return this.#pending.length;
  }

  start(slot: number): number {
    const requests = this.#requests;
    if (requests === undefined) throw new Error('the channel is not open');
    this.asked.push({
      operation: requests.operation[slot],
      offsetBytes: requests.offsetBytes(slot),
      lengthBytes: requests.lengthBytes[slot],
      flags: requests.flags[slot],
    });
    const result = this.results.shift() ?? 0;
    if (result === PENDING) this.#pending.push(slot);
    return result;
  }

  /** Finish a pending request: by default the oldest. */
  finish(result: number, index = 0): void {
    const [slot] = this.#pending.splice(index, 1);
    this.#handler?.onDiskDone(slot, result);
  }

  abandon(): void {
    this.isAbandoned = true;
  }

  hasten(nobodyWaits: boolean): void {
    this.isHastened = true;
    this.nobodyWaits = nobodyWaits;
  }

  close(): void {
    this.isClosed = true;
  }
}
