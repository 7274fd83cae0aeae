/** The filter `error`: requests fail on purpose, without reaching the disk below. */
import { randomInt } from 'node:crypto';
import {
  type Clock,
  Errno,
  type Logger,
  monotonicClock,
  type Reactor,
  readClock,
} from '../../../sys/index.ts';
import type { Disk, DiskChannel, DiskRequestHandler } from '../../disk.ts';
import { DiskOperation, type DiskRequests } from '../../disk-requests.ts';
import { StorageError } from '../../errors.ts';
import { type DiskKind, type DiskLike, DiskPlan } from '../../plan/disk-kind.ts';
import {
  bytes,
  count,
  decimal,
  oneOf,
  type ParameterType,
  text,
} from '../../plan/parameter-types.ts';
import { type ChannelPlace, FilterChannel } from '../filter-channel.ts';
import { FilterDisk } from '../filter-disk.ts';
import type { HandleOf } from '../filter-handle.ts';
import { StreamNumbers } from '../random-numbers.ts';
import { ErrorRule, type ErrorSettings, failedCount, newCounts } from './error-rule.ts';

/** Operations as people write them, in the order of `DiskOperation`. */
const OPERATIONS = ['read', 'write', 'flush', 'discard', 'write-zeroes'] as const;
export type FailingOperation = (typeof OPERATIONS)[number];

/** What a disk may fail with. All but EOPNOTSUPP are the same to a guest. */
const CODES = [
  'EIO',
  'EACCES',
  'EAGAIN',
  'EDQUOT',
  'EINVAL',
  'ENODEV',
  'ENOMEM',
  'ENOSPC',
  'EOPNOTSUPP',
  'EPERM',
  'EROFS',
  'ETIMEDOUT',
] as const;

const MAX_COUNT = 2 ** 31 - 1;
const MAX_MS = 1e12;

/** See the kind's parameters. */
export interface ErrorParameters {
  readonly on?: readonly FailingOperation[];
  readonly errno?: (typeof CODES)[number];
  readonly rate?: number;
  readonly from?: number;
  readonly to?: number;
  readonly after?: number;
  readonly count?: number;
  readonly start?: number;
  readonly end?: number;
  readonly file?: string;
  readonly seed?: number;
}

/** See the module's comment. */
class ErrorChannel extends FilterChannel {
  readonly #rule: ErrorRule;
  readonly #result: number;

  constructor(place: ChannelPlace, rule: ErrorRule, result: number) {
    super(place);
    this.#rule = rule;
    this.#result = result;
  }

  start(slot: number): number {
    const { requests } = this;
    const offset = requests.offsetBytes(slot);
    const applies = this.#rule.applies(
      requests.operation[slot],
      offset,
      requests.lengthBytes[slot],
    );
    return applies ? this.#result : this.lower.start(slot);
  }
}

/** See the module's comment. */
export class ErrorDisk extends FilterDisk {
  readonly kind = 'error';
  readonly description: string;
  readonly #settings: ErrorSettings;
  readonly #clock: Clock;
  #logger: Logger | undefined;

  constructor(lower: Disk, settings: ErrorSettings, clock: Clock = monotonicClock) {
    super(lower);
    this.#settings = settings;
    this.#clock = clock;
    this.description = describe(settings);
  }

  /** How many requests have failed on purpose, in all threads. */
  get failed(): number {
    return failedCount(this.#settings);
  }

  override useLogger(logger: Logger): void {
    this.#logger = logger;
    super.useLogger(logger);
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const rule = new ErrorRule(this.#settings, this.#clock);
    const result = -this.#settings.errno;
    return new ErrorChannel({ below: this.lower, reactor, requests, handler }, rule, result);
  }

  share(): HandleOf<'error'> {
    return { kind: 'error', lower: this.lower.share(), settings: this.#settings };
  }

  override close(): void | Promise<void> {
    this.#logger?.info(`error: ${this.failed} requests have failed on purpose`);
    return super.close();
  }
}

function describe({ operations, rate, seed }: ErrorSettings): string {
  const names = OPERATIONS.filter((_, operation) => ((operations >> operation) & 1) === 1);
  const chance = rate < 1 ? `, one in ${Math.round(1 / rate)} (seed ${seed})` : '';
  return `fails on purpose: ${names.join(', ')}${chance}`;
}

const operationList: ParameterType<readonly FailingOperation[]> = {
  placeholder: 'operation+operation',
  expected: `some of ${OPERATIONS.join(', ')}, joined by +`,
  parse: (given) => {
    const names = given.split('+') as FailingOperation[];
    return names.every((name) => OPERATIONS.includes(name)) ? names : undefined;
  },
  accepts: (value) =>
    Array.isArray(value) && value.length > 0 && value.every((name) => OPERATIONS.includes(name)),
};

const place = bytes(0, Number.MAX_SAFE_INTEGER);
const milliseconds = decimal(0, MAX_MS, 'milliseconds');

/** The kind `error`. */
export const errorKind: DiskKind<ErrorParameters> = {
  name: 'error',
  summary: 'requests fail on purpose',
  below: 'one',
  parameters: {
    on: { type: operationList, summary: 'which operations; default: all' },
    errno: { type: oneOf(CODES), summary: 'what they fail with; default: EIO' },
    rate: { type: decimal(0, 1), summary: 'how many of them, as a probability; default: 1' },
    from: { type: place, summary: 'only those that touch bytes from here on' },
    to: { type: place, summary: 'only those that touch bytes before' },
    after: { type: count(0, MAX_COUNT), summary: 'so many of these go well first' },
    count: { type: count(1, MAX_COUNT), summary: 'at most so many fail' },
    start: { type: milliseconds, summary: 'not before so many milliseconds after opening' },
    end: { type: milliseconds, summary: 'not from so many milliseconds after opening' },
    file: { type: text('path'), summary: 'only while there is something at this path' },
    seed: { type: count(0, MAX_COUNT), summary: 'what chance begins with' },
  },
  async open({ parameters, openBelow }) {
    const settings = settingsOf(parameters, readClock(monotonicClock));
    return new ErrorDisk(await openBelow(0), settings);
  },
};

/**
 * What parameters mean. Throws a `StorageError` DISK_OPTION if they contradict.
 *
 * @param nowMs - when the disk is opened, on the common clock.
 */
export function settingsOf(parameters: ErrorParameters, nowMs: number): ErrorSettings {
  const { on = OPERATIONS, errno = 'EIO', rate = 1, from, to, start, end } = parameters;
  const range =
    from === undefined && to === undefined ? undefined : ([from ?? 0, to ?? Infinity] as const);
  if (range !== undefined && range[0] >= range[1]) {
    throw new StorageError('DISK_OPTION', `error: from is ${from}, not before to, which is ${to}`);
  }
  if (start !== undefined && end !== undefined && start >= end) {
    throw new StorageError(
      'DISK_OPTION',
      `error: start is ${start}, not before end, which is ${end}`,
    );
  }
  const operations = on.reduce((bits, name) => bits | (1 << OPERATIONS.indexOf(name)), 0);
  const withoutFlush = operations & ~(1 << DiskOperation.FLUSH);
  if (range !== undefined && withoutFlush === 0) {
    throw new StorageError(
      'DISK_OPTION',
      'error: from and to are not for flushes, which have no place',
    );
  }
  return {
    operations: range === undefined ? operations : withoutFlush,
    errno: Errno[errno],
    rate,
    range,
    after: parameters.after ?? 0,
    count: parameters.count ?? 0,
    startMs: start === undefined ? Number.NEGATIVE_INFINITY : nowMs + start,
    endMs: end === undefined ? Number.POSITIVE_INFINITY : nowMs + end,
    file: parameters.file,
    seed: parameters.seed ?? randomInt(MAX_COUNT),
    counts: newCounts(),
    streams: new StreamNumbers().buffer,
  };
}

/** A disk whose requests fail on purpose. */
export function error(disk: DiskLike, parameters: ErrorParameters = {}): DiskPlan {
  return new DiskPlan(errorKind, parameters, [disk]);
}
