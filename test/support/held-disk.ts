/**
 * A disk that lets no write happen until it is told to. What it is told is in the kernel's hands
 * cannot be abandoned; the rest can.
 */
import {
  type DiskChannel,
  DiskOperation,
  type DiskRequestHandler,
  type DiskRequests,
} from '../../src/storage/index.ts';
import { Errno, PENDING, type Reactor } from '../../src/sys/index.ts';
import { OwnDisk } from './own-disk-server.ts';

/** See the module's comment. Writes are held oldest first. */
export class HeldDisk extends OwnDisk {
  readonly description = 'a disk that holds writes back';
  /** How many of those held cannot be abandoned. */
  inKernel = 0;
  readonly #held: number[] = [];
  #start: (slot: number) => number = () => 0;
  #handler: DiskRequestHandler | undefined;
  #reactor: Reactor | undefined;

  get held(): number {
    return this.#held.length;
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const channel = this.image.openChannel(reactor, requests, handler);
    this.#start = (slot) => channel.start(slot);
    this.#handler = handler;
    this.#reactor = reactor;
    return {
      start: (slot) => {
        if (requests.operation[slot] !== DiskOperation.WRITE) return channel.start(slot);
        this.#held.push(slot);
        return PENDING;
      },
      abandon: () => {
        for (const slot of this.#held.splice(this.inKernel)) this.#end(slot, -Errno.ECANCELED);
        reactor.requestTurn();
      },
      close: () => channel.close(),
    };
  }

  /** Do the oldest that are held. */
  let(count: number): void {
    for (const slot of this.#held.splice(0, count)) {
      const result = this.#start(slot);
      if (result !== PENDING) this.#end(slot, result);
    }
    // Whoever tells it to is not in the reactor's turn.
    this.#reactor?.requestTurn();
  }

  #end(slot: number, result: number): void {
    this.#handler?.onDiskDone(slot, result);
  }
}
