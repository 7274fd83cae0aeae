/** Timers against a naive model, on a clock that stands still unless told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Timer, Timers } from '../../../src/sys/reactor/timers.ts';
import { propertyOptions } from '../../support/property-options.ts';

/** What a callback does when it fires. */
type Reaction =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'add'; readonly delayMs: number }
  | { readonly kind: 'cancel'; readonly id: number };

type Command =
  | { readonly kind: 'add'; readonly delayMs: number; readonly reaction: Reaction }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'run'; readonly elapsedMs: number };

const delay = fc.nat(2);
const reaction: fc.Arbitrary<Reaction> = fc.oneof(
  fc.constant({ kind: 'nothing' } as const),
  fc.record({ kind: fc.constant('add'), delayMs: delay }),
  fc.record({ kind: fc.constant('cancel'), id: fc.nat(9) }),
);
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('add'), delayMs: delay, reaction }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel'), id: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('run'), elapsedMs: fc.nat(2) }) },
);

interface ModelTimer {
  readonly id: number;
  readonly deadlineMs: number;
  readonly reaction: Reaction;
}

/** Timers as a plain list, searched anew each time. */
class ModelTimers {
  nowMs = 0;
  nextId = 0;
  waiting: ModelTimer[] = [];
  readonly fired: number[] = [];

  add(delayMs: number, what: Reaction): void {
    const timer = { id: this.nextId, deadlineMs: this.nowMs + delayMs, reaction: what };
    this.nextId += 1;
    this.waiting.push(timer);
  }

  cancel(id: number): void {
    this.waiting = this.waiting.filter((timer) => timer.id !== id);
  }

  run(): void {
    const due = this.waiting
      .filter((timer) => timer.deadlineMs <= this.nowMs)
      .sort((a, b) => a.deadlineMs - b.deadlineMs || a.id - b.id);
    for (const timer of due) {
      if (!this.waiting.includes(timer)) continue;
      this.cancel(timer.id);
      this.fired.push(timer.id);
      if (timer.reaction.kind === 'add') this.add(timer.reaction.delayMs, { kind: 'nothing' });
      if (timer.reaction.kind === 'cancel') this.cancel(timer.reaction.id);
    }
  }

  msUntilNext(): number {
    const deadlines = this.waiting.map((timer) => timer.deadlineMs - this.nowMs);
    return Math.max(0, Math.min(...deadlines));
  }
}

/** The real ones, with the same numbering. */
class NumberedTimers {
  readonly timers = new Timers();
  readonly handles: Timer[] = [];
  readonly fired: number[] = [];

  add(delayMs: number, what: Reaction): void {
    const id = this.handles.length;
    const timer = this.timers.add(delayMs, () => {
      this.fired.push(id);
      if (what.kind === 'add') this.add(what.delayMs, { kind: 'nothing' });
      if (what.kind === 'cancel') this.handles[what.id]?.cancel();
    });
    this.handles.push(timer);
  }
}

test('random timers fire, re-arm and cancel as the model says', (t) => {
  let nowMs = 0;
  t.mock.method(performance, 'now', () => nowMs);
  fc.assert(
    fc.property(fc.array(command, { maxLength: 30, size: 'max' }), (commands) => {
      nowMs = 0;
      const model = new ModelTimers();
      const real = new NumberedTimers();
      for (const step of commands) {
        if (step.kind === 'add') {
          model.add(step.delayMs, step.reaction);
          real.add(step.delayMs, step.reaction);
        } else if (step.kind === 'cancel') {
          model.cancel(step.id);
          real.handles[step.id]?.cancel();
        } else {
          nowMs += step.elapsedMs;
          model.nowMs = nowMs;
          const firedBefore = model.fired.length;
          model.run();
          assert.equal(real.timers.run(), model.fired.length > firedBefore);
        }
        assert.deepEqual(real.fired, model.fired);
        assert.equal(real.timers.isEmpty, model.waiting.length === 0);
        assert.equal(real.timers.msUntilNext(), model.msUntilNext());
      }
    }),
    propertyOptions(500),
  );
});

test('a timer made by a callback waits for the next run, even if it is due', (t) => {
  t.mock.method(performance, 'now', () => 100);
  const timers = new Timers();
  const fired: string[] = [];
  timers.add(0, () => {
    fired.push('first');
    second.cancel();
    timers.add(0, () => fired.push('made by the first'));
  });
  const second = timers.add(0, () => fired.push('second'));
  assert.ok(timers.run());
  assert.deepEqual(fired, ['first']);
  assert.ok(timers.run());
  assert.deepEqual(fired, ['first', 'made by the first']);
  assert.ok(!timers.run());
});

test('cancelling a timer that has fired is harmless', (t) => {
  t.mock.method(performance, 'now', () => 0);
  const timers = new Timers();
  const fired = timers.add(0, () => fired.cancel());
  timers.add(5, () => {});
  timers.run();
  fired.cancel();
  assert.equal(timers.msUntilNext(), 5);
});

test('an alarm fires once each time it is set, at the time it was set to last', (t) => {
  let nowMs = 0;
  t.mock.method(performance, 'now', () => nowMs);
  const timers = new Timers();
  const fired: string[] = [];
  const alarm = timers.alarm(() => {
    fired.push(`alarm at ${nowMs}`);
    if (fired.length < 3) alarm.set(10);
  });
  assert.ok(timers.isEmpty, 'it is not set at first');
  timers.add(4, () => fired.push('timer'));
  alarm.set(2);
  alarm.set(5);
  assert.equal(timers.msUntilNext(), 4);
  for (nowMs = 0; nowMs <= 20; nowMs++) timers.run();
  assert.deepEqual(fired, ['timer', 'alarm at 5', 'alarm at 15']);
  alarm.set(1);
  alarm.cancel();
  alarm.cancel();
  assert.ok(timers.isEmpty, 'cancelled');
});

test('an alarm that is set to now by its own callback waits for the next run', (t) => {
  t.mock.method(performance, 'now', () => 7);
  const timers = new Timers();
  let fired = 0;
  const alarm = timers.alarm(() => {
    fired += 1;
    alarm.set(0);
  });
  alarm.set(0);
  assert.ok(timers.run());
  assert.equal(fired, 1);
  assert.ok(timers.run());
  assert.equal(fired, 2);
});
