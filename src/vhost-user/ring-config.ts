/**
 * What a session knows about one ring: what the front-end has set, and whether it runs.
 */
import { type Fd, isEventFd } from '../sys/index.ts';
import {
  firstBase,
  isValidBase,
  isValidRingSize,
  MAX_RING_SIZE,
  RING_ALIGNMENT,
  type RingFormat,
  ringBytes,
  ringFormat,
} from '../virtqueue/index.ts';
import type { RingSetup } from './backend-device.ts';
import { ProtocolError } from './errors.ts';
import type { InflightArea } from './inflight-area.ts';
import type { MemoryTable } from './memory-table.ts';
import { type RequestOf, VRING_LOG_FLAG } from './messages.ts';
import {
  RING_TRANSITIONS,
  type RingEffect,
  type RingEvent,
  type RingState,
} from './session-state.ts';

/** User addresses of a ring's parts. */
export interface RingAddresses {
  readonly descriptor: number;
  readonly available: number;
  readonly used: number;
  /** Guest address at which writes to the used ring are logged, if they are. */
  readonly usedLog: number | undefined;
}

/** What a ring depends on beside its own settings. */
export interface RingSurroundings {
  /** Negotiated virtio features. */
  readonly features: bigint;
  readonly memory: MemoryTable;
  readonly maxQueueSize: number;
  /** To signal when the dirty log has changed. */
  readonly logFd?: number | undefined;
}

type RingPart = 'descriptor' | 'available' | 'used';

/** What the parts are called, for messages. */
const PART_NAMES: Readonly<Record<RingFormat, Readonly<Record<RingPart, string>>>> = {
  split: { descriptor: 'descriptor table', available: 'available ring', used: 'used ring' },
  packed: {
    descriptor: 'descriptor ring',
    available: 'driver event suppression',
    used: 'device event suppression',
  },
};

/** See the module's comment. */
export class RingConfig {
  readonly index: number;
  size: number | undefined;
  addresses: RingAddresses | undefined;
  /** Where it goes on (SET_VRING_BASE); `undefined`: it has never run, nor been given a base. */
  base: number | undefined;
  #kick: Fd | 'polled' | undefined;
  #call: Fd | undefined;
  #err: Fd | undefined;
  #state: RingState = 'stopped+disabled';

  constructor(index: number) {
    this.index = index;
  }

  get state(): RingState {
    return this.#state;
  }

  get isStarted(): boolean {
    return this.#state === 'started+disabled' || this.#state === 'running';
  }

  /** What an event will have to do. */
  effectOf(event: RingEvent): RingEffect {
    return RING_TRANSITIONS[this.#state][event].effect;
  }

  /** The event has happened. */
  advance(event: RingEvent): void {
    this.#state = RING_TRANSITIONS[this.#state][event].next;
  }

  /**
   * Everything `BackendDevice.runRing` needs. Throws a `ProtocolError` if the ring cannot run.
   *
   * @param inflight - where requests under way are to be written down, if the ring is to run.
   */
  setup(
    { features, memory, maxQueueSize, logFd }: RingSurroundings,
    inflight?: InflightArea,
  ): RingSetup {
    const { size, addresses } = this;
    if (size === undefined) throw this.#error('has no size (SET_VRING_NUM)');
    const format = ringFormat(features);
    const isPossible = isValidRingSize(size, format) && size <= maxQueueSize;
    if (!isPossible) throw this.#error(`of size ${size}`);
    if (addresses === undefined) throw this.#error('has no addresses (SET_VRING_ADDR)');
    const base = this.baseFor(format);
    if (!isValidBase(base, size, format)) throw this.#error(`starts at index ${base}`);
    const bytes = ringBytes(size, format);
    const check = (part: RingPart, length: number, alignment: number): void => {
      const address = addresses[part];
      const where = `${PART_NAMES[format][part]} at user address 0x${address.toString(16)}`;
      const host = memory.hostAddress(address, length);
      if (host === undefined) {
        throw this.#error(`has its ${where}, which is not in the memory table`);
      }
      // Here, too: regions need not be aligned in their files, and atomic operations want it.
      if (address % alignment !== 0 || host % alignment !== 0) {
        throw this.#error(`has its ${where}, which is misaligned`);
      }
    };
    const alignment = RING_ALIGNMENT[format];
    check('descriptor', bytes.descriptors, alignment.descriptors);
    check('available', bytes.available, alignment.available);
    check('used', bytes.used, alignment.used);
    return {
      index: this.index,
      size,
      descriptorAddress: addresses.descriptor,
      availableAddress: addresses.available,
      usedAddress: addresses.used,
      base,
      features,
      kickFd: this.#kick === 'polled' ? undefined : this.#kick?.number,
      callFd: this.#call?.number,
      errFd: this.#err?.number,
      inflight: inflight?.partOf(this.index, size, format),
      usedLogAddress: addresses.usedLog,
      logFd,
    };
  }

  /** The base, or the first one of a ring of this format. */
  baseFor(format: RingFormat): number {
    return this.base ?? firstBase(format);
  }

  #error(problem: string): ProtocolError {
    return new ProtocolError('BAD_RING', `ring ${this.index} ${problem}`);
  }

  /**
   * Take a new descriptor, or none, in place of the old one. Returns the old one, to be closed
   * when nobody uses it any more.
   */
  exchange(kind: 'kick' | 'call' | 'err', fd: Fd | undefined): Fd | undefined {
    if (fd !== undefined) checkEventDescriptor(fd);
    switch (kind) {
      case 'kick': {
        const old = this.#kick;
        this.#kick = fd ?? 'polled';
        return old === 'polled' ? undefined : old;
      }
      case 'call': {
        const old = this.#call;
        this.#call = fd;
        return old;
      }
      case 'err': {
        const old = this.#err;
        this.#err = fd;
        return old;
      }
    }
  }

  /** The ring has been stopped: a new kick descriptor has to come before it starts again. */
  closeKick(): void {
    if (this.#kick !== 'polled') this.#kick?.close();
    this.#kick = undefined;
  }

  /** Close all descriptors. */
  close(): void {
    this.closeKick();
    this.#call?.close();
    this.#err?.close();
    this.#call = undefined;
    this.#err = undefined;
  }
}

/**
 * Where SET_VRING_ADDR wants writes to the used ring logged, if it does. Throws a `ProtocolError`
 * for an address that cannot be one. Bits the log does not have are the log's affair.
 */
export function usedLogAddress(request: RequestOf<'SET_VRING_ADDR'>): number | undefined {
  const { index, flags, log } = request;
  if ((flags & VRING_LOG_FLAG) === 0) return undefined;
  if (log <= BigInt(Number.MAX_SAFE_INTEGER - ringBytes(MAX_RING_SIZE).used)) return Number(log);
  const text = `ring ${index} is to be logged at 0x${log.toString(16)}`;
  throw new ProtocolError('BAD_RING', text);
}

/** Writing to anything else could block, or change a file; and not all else can be watched. */
function checkEventDescriptor(fd: Fd): void {
  if (isEventFd(fd.number)) return;
  throw new ProtocolError('BAD_DESCRIPTORS', 'the descriptor is no event descriptor');
}
