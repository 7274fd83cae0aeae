/** A queue of a vhost-user device in a thread that is not the device's. */
import type { DiskRequestHandler, DiskRequests } from '../../../storage/index.ts';
import type { Reactor } from '../../../sys/index.ts';
import type { AdoptedChannel } from '../../channel-handle.ts';
import type { QueueChannel } from '../../driver.ts';
import type { Lease } from '../../lease.ts';
import { type QueueLinkHandle, QueueThreadEnd } from './queue-link.ts';
import { AdoptedQueueMemory, type QueueMemoryHandle } from './queue-memory.ts';
import { type ChannelFeatures, VirtioBlkChannel } from './virtio-blk-channel.ts';

/** What the device's thread gives. */
export interface VhostUserQueueHandle {
  readonly kind: 'virtio-blk-vhost-user';
  readonly memory: QueueMemoryHandle;
  readonly features: ChannelFeatures;
  readonly link: QueueLinkHandle;
}

/** See the module's comment. */
export class AdoptedVhostUserQueue implements AdoptedChannel {
  readonly #memory: AdoptedQueueMemory;
  readonly #features: ChannelFeatures;
  readonly #link: QueueThreadEnd;
  readonly #lease: Lease;

  constructor(handle: VhostUserQueueHandle, lease: Lease) {
    this.#memory = new AdoptedQueueMemory(handle.memory);
    this.#features = handle.features;
    this.#link = new QueueThreadEnd(handle.link);
    this.#lease = lease;
  }

  capacityBytes(): number {
    return this.#link.capacityBytes;
  }

  open(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): QueueChannel {
    const link = this.#link;
    const channel = new VirtioBlkChannel({
      ...this.#features,
      ...{ memory: this.#memory, reactor, requests, handler },
      isConnected: link.startsConnected,
      reconnectsHere: false,
      onBroken: (fault) => link.sayFault(fault),
      onClose: () => link.stopListening(),
    });
    link.obey(reactor, channel);
    return channel;
  }

  close(): void {
    this.#lease.end();
    this.#link.close();
    this.#memory[Symbol.dispose]();
  }
}
