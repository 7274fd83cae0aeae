/**
 * One queue of a throttled disk. Requests that have to wait do so in the order they came in, reads
 * and writes apart; the first of each has spent for itself, and a timer starts it. Flushes pass.
 */
import { type Alarm, type Clock, Errno, PENDING, type Reactor } from '../../../sys/index.ts';
import { DiskOperation } from '../../disk-requests.ts';
import { type ChannelPlace, FilterChannel } from '../filter-channel.ts';
import { SlotQueue } from '../slot-queue.ts';
import { DIRECTIONS, Direction, type ThrottleGroup } from './throttle-group.ts';

/** Timers reach so far at least; then it is looked at again. */
const MAX_WAIT_MS = 2 ** 30;

/** See the module's comment. */
export class ThrottleChannel extends FilterChannel {
  readonly #reactor: Reactor;
  readonly #group: ThrottleGroup;
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  readonly #isLimited: readonly boolean[];
  readonly #waiting: readonly SlotQueue[];
  /** By direction: when the first that waits may start. */
  readonly #dueMs = new Float64Array(DIRECTIONS);
  #isHastened = false;

  constructor(place: ChannelPlace, group: ThrottleGroup, clock: Clock) {
    super(place);
    const { reactor, requests } = place;
    this.#reactor = reactor;
    this.#group = group;
    this.#clock = clock;
    this.#alarm = reactor.alarm(() => this.#onTime());
    this.#isLimited = [Direction.READ, Direction.WRITE].map((each) => group.isLimited(each));
    this.#waiting = [new SlotQueue(requests.slots), new SlotQueue(requests.slots)];
  }

  start(slot: number): number {
    const operation = this.requests.operation[slot];
    const direction = operation === DiskOperation.READ ? Direction.READ : Direction.WRITE;
    if (operation === DiskOperation.FLUSH || !this.#isLimited[direction]) {
      return this.lower.start(slot);
    }
    const queue = this.#waiting[direction];
    if (!queue.isEmpty) {
      queue.push(slot);
      return PENDING;
    }
    this.#clock.read();
    const mayStart = this.#spend(direction, slot);
    if (mayStart || this.#isHastened) return this.lower.start(slot);
    queue.push(slot);
    this.#setAlarm();
    return PENDING;
  }

  /** As of the last reading of the clock. */
  #spend(direction: number, slot: number): boolean {
    const bytes = this.requests.lengthBytes[slot];
    return this.#group.spend(direction, bytes, this.#clock.ms, this.#dueMs);
  }

  #onTime(): void {
    this.#clock.read();
    for (let hasStarted = true; hasStarted; ) {
      // One of each in turn: they may share a limit.
      const hasRead = this.#startIfDue(Direction.READ);
      hasStarted = this.#startIfDue(Direction.WRITE) || hasRead;
    }
    this.#setAlarm();
  }

  /** Start the first that waits, if its time has come, and spend for the next. */
  #startIfDue(direction: number): boolean {
    const queue = this.#waiting[direction];
    if (queue.isEmpty || this.#dueMs[direction] > this.#clock.ms[0]) return false;
    const slot = queue.shift();
    if (!queue.isEmpty) this.#spend(direction, queue.first);
    this.#startLower(slot);
    return true;
  }

  #startLower(slot: number): void {
    const result = this.lower.start(slot);
    if (result !== PENDING) this.handler.onDiskDone(slot, result);
  }

  /** Fire when the first of those that wait may start. */
  #setAlarm(): void {
    let dueMs = Number.POSITIVE_INFINITY;
    for (let direction = 0; direction < DIRECTIONS; direction++) {
      if (!this.#waiting[direction].isEmpty) dueMs = Math.min(dueMs, this.#dueMs[direction]);
    }
    if (dueMs === Number.POSITIVE_INFINITY) this.#alarm.cancel();
    else this.#alarm.set(Math.min(MAX_WAIT_MS, Math.max(0, dueMs - this.#clock.ms[0])));
  }

  /** Those that wait have not been started: they are nobody's business but ours. */
  override abandon(): void {
    this.#alarm.cancel();
    for (let direction = 0; direction < DIRECTIONS; direction++) {
      const queue = this.#waiting[direction];
      if (queue.isEmpty) continue;
      this.#group.refund(direction, this.requests.lengthBytes[queue.first]);
      while (!queue.isEmpty) this.handler.onDiskDone(queue.shift(), -Errno.ECANCELED);
    }
    super.abandon();
    this.#reactor.requestTurn();
  }

  /** What is started early is spent for all the same: others wait the longer. */
  override hasten(nobodyWaits: boolean): void {
    this.#isHastened = true;
    this.#alarm.cancel();
    this.#clock.read();
    for (let direction = 0; direction < DIRECTIONS; direction++) {
      this.#dueMs[direction] = this.#clock.ms[0];
      while (this.#startIfDue(direction)) this.#dueMs[direction] = this.#clock.ms[0];
    }
    super.hasten(nobodyWaits);
    this.#reactor.requestTurn();
  }

  override close(): void {
    this.#alarm.cancel();
    super.close();
  }
}
