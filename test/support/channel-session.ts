/**
 * A disk's channel on Node's event loop: requests are promises, on memory of the session as on that
 * of a guest. A slot is used again as soon as its request has been answered.
 */
import assert from 'node:assert/strict';
import {
  type Disk,
  type DiskChannel,
  type DiskRequestHandler,
  DiskRequests,
} from '../../src/storage/index.ts';
import {
  AttachedHome,
  createReactor,
  Mapping,
  PENDING,
  type Reactor,
} from '../../src/sys/index.ts';
import { fillSlot, type Request } from './disk-session.ts';
import { within } from './within.ts';

const SLOTS = 32;
const MEMORY_BYTES = 4 * 2 ** 20;

/** See the module's comment. */
export class ChannelSession implements Disposable, DiskRequestHandler {
  /** Memory that pieces of requests are parts of. */
  readonly memory: Buffer;
  readonly channel: DiskChannel;
  /** Results so far, in the order they came. */
  readonly results: number[] = [];
  readonly #mapping = Mapping.anonymous(MEMORY_BYTES);
  readonly #reactor: Reactor = createReactor('attached', 'auto').reactor;
  readonly #home = new AttachedHome(this.#reactor);
  readonly #requests = new DiskRequests(SLOTS);
  readonly #waiting = new Map<number, (result: number) => void>();

  /** The disk stays the caller's. */
  constructor(disk: Disk) {
    this.#home.ready.catch(() => {});
    this.memory = Buffer.from(this.#mapping.view(0, MEMORY_BYTES));
    this.channel = disk.openChannel(this.#reactor, this.#requests, this);
  }

  get pending(): number {
    return this.#waiting.size;
  }

  onDiskDone(slot: number, result: number): void {
    const resolve = this.#waiting.get(slot);
    assert.ok(resolve !== undefined, `slot ${slot} is done, and was not pending`);
    this.#waiting.delete(slot);
    this.results.push(result);
    resolve(result);
  }

  /** Start a request. Gives its result: 0 or a negative errno. */
  run(request: Request): Promise<number> {
    let slot = 0;
    while (this.#waiting.has(slot)) slot += 1;
    fillSlot(this.#requests, slot, request, this.#mapping);
    const result = this.channel.start(slot);
    if (result !== PENDING) {
      this.results.push(result);
      return Promise.resolve(result);
    }
    const ended = new Promise<number>((resolve) => this.#waiting.set(slot, resolve));
    this.#reactor.requestTurn();
    return within(ended, JSON.stringify(request));
  }

  [Symbol.dispose](): void {
    this.channel.close();
    this.#home.close();
    this.#reactor[Symbol.dispose]();
    this.#requests[Symbol.dispose]();
    this.#mapping.close();
  }
}
