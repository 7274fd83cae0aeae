/** One queue of a delayed disk. */
import { type Alarm, type Clock, Errno, PENDING, type Reactor } from '../../sys/index.ts';
import type { DelaySettings } from './delay.ts';
import { type ChannelPlace, FilterChannel } from './filter-channel.ts';
import type { RandomNumbers } from './random-numbers.ts';
import { SlotDeadlines } from './slot-deadlines.ts';

/** What a channel works with. */
export interface DelayTools {
  readonly settings: DelaySettings;
  readonly random: RandomNumbers;
  readonly clock: Clock;
}

/** See the module's comment. */
export class DelayChannel extends FilterChannel {
  readonly #reactor: Reactor;
  readonly #delaysMs: Float64Array;
  readonly #jitterMs: number;
  readonly #random: RandomNumbers;
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  readonly #waiting: SlotDeadlines;
  #isHastened = false;

  constructor(place: ChannelPlace, { settings, random, clock }: DelayTools) {
    super(place);
    const { reactor, requests } = place;
    this.#reactor = reactor;
    this.#delaysMs = Float64Array.from(settings.delaysMs);
    this.#jitterMs = settings.jitterMs;
    this.#random = random;
    this.#clock = clock;
    this.#alarm = reactor.alarm(() => this.#onTime());
    this.#waiting = new SlotDeadlines(requests.slots);
  }

  start(slot: number): number {
    const delayMs = this.#delaysMs[this.requests.operation[slot]];
    if (delayMs < 0 || this.#isHastened) return this.lower.start(slot);
    const jitterMs = this.#jitterMs === 0 ? 0 : this.#jitterMs * this.#random.next();
    const totalMs = delayMs + jitterMs;
    if (totalMs === 0) return this.lower.start(slot);
    this.#clock.read();
    const deadlineMs = this.#clock.ms[0] + totalMs;
    const isFirst = deadlineMs < this.#waiting.firstMs;
    this.#waiting.deadlineMs[slot] = deadlineMs;
    this.#waiting.add(slot);
    if (isFirst) this.#alarm.set(totalMs);
    return PENDING;
  }

  #onTime(): void {
    this.#clock.read();
    const nowMs = this.#clock.ms[0];
    while (this.#waiting.firstMs <= nowMs) this.#startFirst();
    if (!this.#waiting.isEmpty) this.#alarm.set(this.#waiting.firstMs - nowMs);
  }

  #startFirst(): void {
    const slot = this.#waiting.shift();
    const result = this.lower.start(slot);
    if (result !== PENDING) this.handler.onDiskDone(slot, result);
  }

  /** Those that wait have not been started: they are nobody's business but ours. */
  override abandon(): void {
    this.#alarm.cancel();
    while (!this.#waiting.isEmpty) {
      this.handler.onDiskDone(this.#waiting.shift(), -Errno.ECANCELED);
    }
    super.abandon();
    this.#reactor.requestTurn();
  }

  override hasten(nobodyWaits: boolean): void {
    this.#isHastened = true;
    this.#alarm.cancel();
    while (!this.#waiting.isEmpty) this.#startFirst();
    super.hasten(nobodyWaits);
    this.#reactor.requestTurn();
  }

  override close(): void {
    this.#alarm.cancel();
    super.close();
  }
}
