/**
 * The filter `delay`: requests wait before they are done, as on a slow disk. Those that wait have not
 * begun: what is read is what is there at the end, and what is written is not there before.
 */
import { randomInt } from 'node:crypto';
import { type Clock, monotonicClock, type Reactor } from '../../sys/index.ts';
import type { Disk, DiskChannel, DiskRequestHandler } from '../disk.ts';
import type { DiskRequests } from '../disk-requests.ts';
import { StorageError } from '../errors.ts';
import { type DiskKind, type DiskLike, DiskPlan, writtenName } from '../plan/disk-kind.ts';
import { count, decimal } from '../plan/parameter-types.ts';
import { DelayChannel } from './delay-channel.ts';
import { FilterDisk } from './filter-disk.ts';
import type { HandleOf } from './filter-handle.ts';
import { RandomNumbers, StreamNumbers } from './random-numbers.ts';

/** An hour. */
const MAX_DELAY_MS = 3_600_000;
const MAX_SEED = 2 ** 31 - 1;
/** In the order of `DiskOperation`. */
const DELAYED = ['read', 'write', 'flush', 'discard', 'writeZeroes'] as const;

/** Milliseconds by kind of request; see the kind's parameters. */
export interface DelayParameters {
  readonly read?: number;
  readonly write?: number;
  readonly flush?: number;
  readonly discard?: number;
  readonly writeZeroes?: number;
  readonly jitter?: number;
  readonly seed?: number;
}

/** A delayed disk for another thread. */
export interface DelaySettings {
  /** By `DiskOperation`, in milliseconds; -1: such requests do not wait, not even at random. */
  readonly delaysMs: readonly number[];
  /** Up to this is added at random. */
  readonly jitterMs: number;
  readonly seed: number;
  /** See `StreamNumbers`. */
  readonly streams: SharedArrayBuffer;
}

/** See the module's comment. */
export class DelayDisk extends FilterDisk {
  readonly kind = 'delay';
  readonly description: string;
  readonly #settings: DelaySettings;
  readonly #clock: Clock;

  constructor(lower: Disk, settings: DelaySettings, clock: Clock = monotonicClock) {
    super(lower);
    this.#settings = settings;
    this.#clock = clock;
    this.description = describe(settings);
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const { seed, streams } = this.#settings;
    const random = new RandomNumbers(seed, new StreamNumbers(streams).next());
    const tools = { settings: this.#settings, random, clock: this.#clock };
    return new DelayChannel({ below: this.lower, reactor, requests, handler }, tools);
  }

  share(): HandleOf<'delay'> {
    return { kind: 'delay', lower: this.lower.share(), settings: this.#settings };
  }
}

function describe({ delaysMs, jitterMs, seed }: DelaySettings): string {
  const texts = DELAYED.map((name, index) => `${writtenName(name)} ${delaysMs[index]} ms`);
  const inForce = texts.filter((_, index) => delaysMs[index] >= 0).join(', ');
  return jitterMs > 0 ? `${inForce}, and up to ${jitterMs} ms at random (seed ${seed})` : inForce;
}

const delayMs = decimal(0, MAX_DELAY_MS, 'milliseconds');

/** The kind `delay`. */
export const delayKind: DiskKind<DelayParameters> = {
  name: 'delay',
  summary: 'requests wait before they are done',
  below: 'one',
  parameters: {
    read: { type: delayMs, summary: 'milliseconds that a read waits' },
    write: { type: delayMs, summary: 'milliseconds that a write waits' },
    flush: { type: delayMs, summary: 'milliseconds that a flush waits' },
    discard: { type: delayMs, summary: 'milliseconds that a discard waits' },
    writeZeroes: { type: delayMs, summary: 'milliseconds that a request for zeros waits' },
    jitter: { type: delayMs, summary: 'milliseconds up to which each of these waits more' },
    seed: { type: count(0, MAX_SEED), summary: 'what the random part begins with' },
  },
  async open({ parameters, openBelow }) {
    const given = DELAYED.map((name) => parameters[name]);
    if (given.every((each) => each === undefined)) {
      const how = 'say read=<milliseconds>, write=<milliseconds>, or others';
      throw new StorageError('DISK_OPTION', `delay: nothing is delayed: ${how}`);
    }
    const { jitter = 0, seed = randomInt(MAX_SEED) } = parameters;
    const delaysMs = given.map((each) => each ?? -1);
    const streams = new StreamNumbers().buffer;
    return new DelayDisk(await openBelow(0), { delaysMs, jitterMs: jitter, seed, streams });
  },
};

/** A disk whose requests wait. */
export function delay(disk: DiskLike, parameters: DelayParameters): DiskPlan {
  return new DiskPlan(delayKind, parameters, [disk]);
}
