/** One queue of a disk whose requests are counted and timed. */
import { type Clock, Errno, PENDING } from '../../../sys/index.ts';
import { type ChannelPlace, FilterChannel } from '../filter-channel.ts';
import type { StatisticsRow } from './statistics-row.ts';

const CANCELED = -Errno.ECANCELED;

/** See the module's comment. */
export class StatsChannel extends FilterChannel {
  readonly #row: StatisticsRow;
  readonly #clock: Clock;
  /** By slot: a disk below may change the table. */
  readonly #startedMs: Float64Array;
  readonly #latencyUs: Float64Array;
  readonly #bytes: Float64Array;
  readonly #operation: Uint8Array;
  #underWay = 0;

  constructor(place: ChannelPlace, row: StatisticsRow, clock: Clock) {
    super(place, true);
    const { slots } = place.requests;
    this.#row = row;
    this.#clock = clock;
    this.#startedMs = new Float64Array(slots);
    this.#latencyUs = new Float64Array(slots);
    this.#bytes = new Float64Array(slots);
    this.#operation = new Uint8Array(slots);
  }

  start(slot: number): number {
    const { requests } = this;
    this.#underWay += 1;
    this.#row.begin(this.#underWay);
    this.#operation[slot] = requests.operation[slot];
    this.#bytes[slot] = requests.lengthBytes[slot];
    this.#clock.read();
    this.#startedMs[slot] = this.#clock.ms[0];
    const result = this.lower.start(slot);
    if (result !== PENDING) this.#count(slot, result);
    return result;
  }

  override onDiskDone(slot: number, result: number): void {
    this.#count(slot, result);
    this.handler.onDiskDone(slot, result);
  }

  #count(slot: number, result: number): void {
    this.#underWay -= 1;
    const operation = this.#operation[slot];
    if (result === 0) {
      this.#clock.read();
      this.#latencyUs[slot] = (this.#clock.ms[0] - this.#startedMs[slot]) * 1000;
      this.#row.finish(operation, this.#bytes[slot], this.#latencyUs, slot);
    } else if (result === CANCELED) {
      this.#row.cancel();
    } else {
      this.#row.fail(operation);
    }
  }
}
