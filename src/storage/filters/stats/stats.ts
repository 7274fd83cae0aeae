/**
 * The filter `stats`: counts requests and how long they take, in all threads. The log has a summary
 * at the end, and in between as often as is asked for.
 */
import {
  type Clock,
  type Logger,
  monotonicClock,
  type Reactor,
  readClock,
} from '../../../sys/index.ts';
import type { Disk, DiskChannel, DiskRequestHandler } from '../../disk.ts';
import type { DiskRequests } from '../../disk-requests.ts';
import { type DiskKind, type DiskLike, DiskPlan } from '../../plan/disk-kind.ts';
import { decimal } from '../../plan/parameter-types.ts';
import { FilterDisk } from '../filter-disk.ts';
import type { HandleOf } from '../filter-handle.ts';
import { addUp, between, type Statistics } from './statistics.ts';
import { StatisticsRow } from './statistics-row.ts';
import { statisticsLines } from './statistics-text.ts';
import { StatsChannel } from './stats-channel.ts';

/** A day. */
const MAX_INTERVAL_SECONDS = 86_400;

/** A counted disk for another thread: where that counts. */
export interface StatsSettings {
  readonly row: SharedArrayBuffer;
}

/** How a counted disk is made. */
export interface StatsOptions {
  /** Where this thread counts; default: in a new row. */
  readonly row?: StatisticsRow;
  /** How often to log what has come since the last time; default: never. */
  readonly intervalMs?: number | undefined;
  readonly clock?: Clock;
}

/** See the module's comment. */
export class StatsDisk extends FilterDisk {
  readonly kind = 'stats';
  readonly description = 'counts and times requests';
  readonly #row: StatisticsRow;
  /** Of all threads that this one has given the disk to, and its own. */
  readonly #rows: StatisticsRow[];
  readonly #clock: Clock;
  readonly #openedMs: number;
  readonly #timer: NodeJS.Timeout | undefined;
  #last: Statistics;
  #logger: Logger | undefined;

  constructor(lower: Disk, options: StatsOptions = {}) {
    super(lower);
    const { row = new StatisticsRow(), clock = monotonicClock, intervalMs } = options;
    this.#row = row;
    this.#rows = [row];
    this.#clock = clock;
    this.#openedMs = readClock(clock);
    this.#last = this.statistics;
    if (intervalMs === undefined) return;
    this.#timer = setInterval(() => this.#reportSinceLast(), intervalMs).unref();
  }

  /** All threads together, as of now. Threads that this one has not given the disk to are unknown. */
  get statistics(): Statistics {
    return addUp(this.#rows, readClock(this.#clock) - this.#openedMs);
  }

  override useLogger(logger: Logger): void {
    this.#logger = logger;
    super.useLogger(logger);
  }

  /** Log a summary of all so far. */
  report(): void {
    this.#log('stats', this.statistics);
  }

  #reportSinceLast(): void {
    const now = this.statistics;
    this.#log('stats, lately', between(this.#last, now));
    this.#last = now;
  }

  #log(title: string, statistics: Statistics): void {
    const of = `${title} (${this.lower.kind})`;
    for (const line of statisticsLines(statistics)) this.#logger?.info(`${of}: ${line}`);
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const place = { below: this.lower, reactor, requests, handler };
    return new StatsChannel(place, this.#row, this.#clock);
  }

  share(): HandleOf<'stats'> {
    // Threads come and go, and their number of rows stays: the next one goes on with what is free.
    let row = this.#rows.find((each) => each.takeIfFree());
    if (row === undefined) {
      row = new StatisticsRow();
      this.#rows.push(row);
    }
    return { kind: 'stats', lower: this.lower.share(), settings: { row: row.buffer } };
  }

  override close(): void | Promise<void> {
    clearInterval(this.#timer);
    this.report();
    this.#row.letGo();
    return super.close();
  }
}

/** The disks of a chain that count, the outermost first. */
export function statsOf(disk: Disk): StatsDisk[] {
  const below = disk.below.flatMap(statsOf);
  return disk instanceof StatsDisk ? [disk, ...below] : below;
}

/** See the kind's parameters. */
export interface StatsParameters {
  readonly interval?: number;
}

/** The kind `stats`. */
export const statsKind: DiskKind<StatsParameters> = {
  name: 'stats',
  summary: 'counts and times requests',
  below: 'one',
  parameters: {
    interval: {
      type: decimal(0.1, MAX_INTERVAL_SECONDS, 'seconds'),
      summary: 'seconds after which the log says what has come since',
    },
  },
  async open({ parameters, openBelow }) {
    const { interval } = parameters;
    const intervalMs = interval === undefined ? undefined : interval * 1000;
    return new StatsDisk(await openBelow(0), { intervalMs });
  },
};

/** A disk whose requests are counted and timed; `statsOf` gives what they were when it is open. */
export function stats(disk: DiskLike, parameters: StatsParameters = {}): DiskPlan {
  return new DiskPlan(statsKind, parameters, [disk]);
}
