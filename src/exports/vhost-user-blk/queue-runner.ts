/**
 * Runs the queues of a device on a reactor of the calling thread. No promises: a reactor in a
 * blocking home does not get round to them.
 */
import { strict as assert } from 'node:assert';
import { DirtyLog, GuestMemory } from '../../memory/index.ts';
import type { Disk } from '../../storage/index.ts';
import { Mapping, type MappingHandle, type Reactor, type Watch } from '../../sys/index.ts';
import { F_LOG_ALL, type HaltMode, type RingSetup } from '../../vhost-user/index.ts';
import {
  BlockQueue,
  BlockRequests,
  counterRow,
  type DeviceState,
  NO_FD,
  QueueLog,
} from '../../virtio-blk/index.ts';
import {
  createDeviceRing,
  type DeviceRing,
  type InflightMemory,
  inflightLogBytes,
  RingFeature,
  ringBytes,
  ringFormat,
} from '../../virtqueue/index.ts';
import type { BrokenRingHandler, SharedRegion } from './queue-host.ts';

/**
 * Most requests of a queue under way at once. A larger ring is legal; what is above this waits in
 * it. Disks have nothing to gain from more.
 */
const MAX_IN_FLIGHT = 1024;

export interface QueueRunnerOptions {
  readonly reactor: Reactor;
  readonly disk: Disk;
  readonly state: DeviceState;
  readonly counters: SharedArrayBuffer;
  /** Device ID string. */
  readonly serial: string;
}

/** A ring that runs. */
interface Run {
  readonly queue: BlockQueue;
  /** Where its in-flight log is. */
  readonly logMapping: Mapping | undefined;
  setup: RingSetup;
  kickWatch: Watch | undefined;
}

/** See the module's comment. */
export class QueueRunner {
  readonly #options: QueueRunnerOptions;
  readonly #runs = new Map<number, Run>();
  /** Kept between runs of a queue. */
  readonly #requests = new Map<number, BlockRequests>();
  #memory = new GuestMemory([]);
  #log: { readonly mapping: Mapping; readonly bits: Uint8Array } | undefined;

  constructor(options: QueueRunnerOptions) {
    this.#options = options;
  }

  /** Use other memory. No ring runs. The mappings' handles are adopted. */
  setMemory(regions: readonly SharedRegion[]): void {
    assert(this.#runs.size === 0, 'memory changes while a ring runs');
    for (const region of this.#memory.regions) region.mapping.close();
    this.#memory = new GuestMemory(
      regions.map(({ mapping, ...region }) => ({ ...region, mapping: Mapping.adopt(mapping) })),
    );
  }

  /** Use another dirty log, or none, also for rings that run. The handle is adopted. */
  setLog(handle: MappingHandle | undefined): void {
    const old = this.#log;
    const mapping = handle === undefined ? undefined : Mapping.adopt(handle);
    this.#log = mapping && { mapping, bits: new Uint8Array(mapping.view(0, mapping.sizeBytes)) };
    for (const { queue, setup } of this.#runs.values()) queue.setLog(this.#queueLog(setup));
    old?.mapping.close();
  }

  /** What of a ring's writes is to be logged now, if any. */
  #queueLog({ features, usedLogAddress, logFd }: RingSetup): QueueLog | undefined {
    const coversData = (features & (1n << BigInt(F_LOG_ALL))) !== 0n;
    if (this.#log === undefined || !(coversData || usedLogAddress !== undefined)) return undefined;
    const log = new DirtyLog(this.#log.bits);
    return new QueueLog({ log, coversData, usedAddress: usedLogAddress, logFd });
  }

  /** Run a ring, which the session has checked. @throws SystemError: no memory, no descriptors. */
  runRing(setup: RingSetup, onBroken: BrokenRingHandler): void {
    assert(!this.#runs.has(setup.index), 'a ring is run once at a time');
    const logMapping = setup.inflight && Mapping.adopt(setup.inflight.mapping);
    try {
      this.#run(setup, logMapping, onBroken);
    } catch (error) {
      const run = this.#runs.get(setup.index);
      if (run === undefined) logMapping?.close();
      else this.#release(run);
      throw error;
    }
  }

  /** A ring runs no more, or has not come to run. */
  #release({ queue, kickWatch, logMapping, setup }: Run): void {
    this.#runs.delete(setup.index);
    kickWatch?.close();
    queue.close();
    logMapping?.close();
  }

  #run(setup: RingSetup, logMapping: Mapping | undefined, onBroken: BrokenRingHandler): void {
    const { reactor, disk, state, counters, serial } = this.#options;
    const requests = this.#requestsOf(setup);
    const ring = this.#mapRing(setup, logMapping);
    const queue = new BlockQueue({
      ring,
      memory: this.#memory,
      requests,
      rules: {
        features: setup.features,
        readOnly: disk.info.readOnly,
        logicalBlockBytes: disk.info.logicalBlockBytes,
        serial,
      },
      state,
      counters: counterRow(counters, setup.index),
      isPolled: setup.kickFd === undefined,
      openChannel: (handler) => disk.openChannel(reactor, requests.disk, handler),
      onBroken,
    });
    const run: Run = { queue, logMapping, setup, kickWatch: undefined };
    this.#runs.set(setup.index, run);
    this.#wire(run, setup);
    if (ring.fault !== undefined) queue.giveUp(ring.fault);
    reactor.addSource(queue);
  }

  #requestsOf(setup: RingSetup): BlockRequests {
    const slots = Math.min(setup.size, MAX_IN_FLIGHT);
    const old = this.#requests.get(setup.index);
    if (old?.slots === slots) return old;
    this.#requests.delete(setup.index);
    old?.[Symbol.dispose]();
    const requests = new BlockRequests(slots);
    this.#requests.set(setup.index, requests);
    return requests;
  }

  #mapRing(setup: RingSetup, logMapping: Mapping | undefined): DeviceRing {
    const format = ringFormat(setup.features);
    const bytes = ringBytes(setup.size, format);
    const view = (address: number, length: number): ArrayBuffer => {
      const buffer = this.#memory.viewUser(address, length);
      assert(buffer !== undefined, 'the session has checked where the ring is');
      return buffer;
    };
    const memory = {
      size: setup.size,
      descriptors: view(setup.descriptorAddress, bytes.descriptors),
      available: view(setup.availableAddress, bytes.available),
      used: view(setup.usedAddress, bytes.used),
      descriptorsGuestAddress: this.#memory.guestAddressOfUser(
        setup.descriptorAddress,
        bytes.descriptors,
      ),
    };
    const eventIdx = (setup.features & (1n << BigInt(RingFeature.EVENT_IDX))) !== 0n;
    return createDeviceRing(format, memory, eventIdx, setup.base, logOf(setup, logMapping));
  }

  #wire(run: Run, setup: RingSetup): void {
    run.setup = setup;
    run.queue.setLog(this.#queueLog(setup));
    run.queue.callFd = setup.callFd ?? NO_FD;
    run.queue.errFd = setup.errFd ?? NO_FD;
    run.kickWatch?.close();
    // A kick has nothing to say but "look": every turn of the reactor looks.
    run.kickWatch =
      setup.kickFd === undefined
        ? undefined
        : this.#options.reactor.watch(setup.kickFd, { onReadable: () => {} });
  }

  /** Use other descriptors for a running ring, and log its writes otherwise. */
  rewireRing(setup: RingSetup): void {
    const run = this.#runs.get(setup.index);
    assert(run !== undefined, 'only a running ring is rewired');
    this.#wire(run, setup);
  }

  /** End a ring's requests and stop it; `done` gets what the next run starts with. */
  haltRing(index: number, mode: HaltMode, done: (base: number) => void): void {
    const run = this.#runs.get(index);
    assert(run !== undefined, 'only a running ring is halted');
    const { queue } = run;
    const onDrained = (): void => {
      this.#options.reactor.removeSource(queue);
      this.#release(run);
      done(queue.base);
    };
    queue.drain(onDrained, mode, run.logMapping !== undefined);
  }

  /** No ring runs. */
  close(): void {
    this.setMemory([]);
    this.setLog(undefined);
    for (const requests of this.#requests.values()) requests[Symbol.dispose]();
    this.#requests.clear();
  }
}

function logOf(setup: RingSetup, mapping: Mapping | undefined): InflightMemory | undefined {
  const { inflight, features } = setup;
  if (inflight === undefined || mapping === undefined) return undefined;
  const { offsetBytes, queueSize } = inflight;
  const bytes = inflightLogBytes(queueSize, ringFormat(features));
  return { memory: mapping.view(offsetBytes, bytes), queueSize };
}
