/** What channels of filters have in common: what they do not do themselves, the channel below does. */
import type { Reactor } from '../../sys/index.ts';
import type { Disk, DiskChannel, DiskRequestHandler } from '../disk.ts';
import type { DiskRequests } from '../disk-requests.ts';

/** Where a channel is opened: the disk below, and what `Disk.openChannel` gets. */
export interface ChannelPlace {
  readonly below: Disk;
  readonly reactor: Reactor;
  readonly requests: DiskRequests;
  readonly handler: DiskRequestHandler;
}

/** See the module's comment. Requests keep their slots. */
export abstract class FilterChannel implements DiskChannel, DiskRequestHandler {
  protected readonly requests: DiskRequests;
  protected readonly handler: DiskRequestHandler;
  protected readonly lower: DiskChannel;

  /** @param seesResults - requests that were pending below come by `onDiskDone` here. */
  constructor({ below, reactor, requests, handler }: ChannelPlace, seesResults = false) {
    this.requests = requests;
    this.handler = handler;
    this.lower = below.openChannel(reactor, requests, seesResults ? this : handler);
  }

  abstract start(slot: number): number;

  onDiskDone(slot: number, result: number): void {
    this.handler.onDiskDone(slot, result);
  }

  abandon(): void {
    this.lower.abandon?.();
  }

  hasten(nobodyWaits: boolean): void {
    this.lower.hasten?.(nobodyWaits);
  }

  close(): void {
    this.lower.close();
  }
}
