/** The state tables of a session. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { type FrontendMessageName, FrontendMessages } from '../../../src/vhost-user/messages.ts';
import {
  nextPhase,
  RING_TRANSITIONS,
  type RingEvent,
  type RingState,
  type RingTransition,
} from '../../../src/vhost-user/session-state.ts';
import { propertyOptions } from '../../support/property-options.ts';

const STATES: readonly RingState[] = [
  'stopped+disabled',
  'stopped+enabled',
  'started+disabled',
  'running',
];
const EVENTS: readonly RingEvent[] = ['start', 'stop', 'enable', 'disable', 'reset'];
const NAMES = Object.keys(FrontendMessages) as FrontendMessageName[];

/** The same as two switches, of which the states are the combinations. */
function naive(state: RingState, event: RingEvent): RingState {
  let started = state === 'started+disabled' || state === 'running';
  let enabled = state === 'stopped+enabled' || state === 'running';
  if (event === 'start') started = true;
  if (event === 'stop' || event === 'reset') started = false;
  if (event === 'enable') enabled = true;
  if (event === 'disable' || event === 'reset') enabled = false;
  if (started && enabled) return 'running';
  if (started) return 'started+disabled';
  return enabled ? 'stopped+enabled' : 'stopped+disabled';
}

test('the table has every state and every event, and no other', () => {
  assert.deepEqual(Object.keys(RING_TRANSITIONS).sort(), [...STATES].sort());
  for (const state of STATES) {
    assert.deepEqual(Object.keys(RING_TRANSITIONS[state]).sort(), [...EVENTS].sort(), state);
  }
});

for (const state of STATES) {
  for (const event of EVENTS) {
    test(`${event} of a ring that is ${state}`, () => {
      const { next, effect } = RING_TRANSITIONS[state][event];
      assert.equal(next, naive(state, event));
      const runs = [state, next].map((each) => each === 'running');
      if (runs[0] && runs[1]) assert.equal(effect, event === 'start' ? 'rewire' : 'none');
      else if (runs[1]) assert.equal(effect, 'run');
      else if (runs[0]) assert.equal(effect, 'halt');
      else assert.equal(effect, 'none');
    });
  }
}

test('any sequence of events stays in the table, and runs and halts take turns', () => {
  const property = fc.property(
    fc.array(fc.constantFrom(...EVENTS), { maxLength: 60 }),
    (events) => {
      let state: RingState = 'stopped+disabled';
      let isRunning = false;
      for (const event of events) {
        const { next, effect }: RingTransition = RING_TRANSITIONS[state][event];
        if (effect === 'run') assert.equal(isRunning, false);
        if (effect === 'halt' || effect === 'rewire') assert.equal(isRunning, true);
        if (effect === 'run') isRunning = true;
        if (effect === 'halt') isRunning = false;
        assert.ok(STATES.includes(next));
        state = next;
        assert.equal(state === 'running', isRunning);
      }
    },
  );
  fc.assert(property, propertyOptions(500));
});

test('what needs the features is refused before SET_FEATURES, and nothing else', () => {
  const refused = NAMES.filter((name) => {
    try {
      nextPhase('connected', name);
      return false;
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'WRONG_STATE');
      return true;
    }
  });
  assert.deepEqual(refused.sort(), ['GET_VRING_BASE', 'SET_VRING_ENABLE', 'SET_VRING_KICK']);
});

test('only SET_FEATURES changes the phase, and nothing leads back', () => {
  for (const name of NAMES) {
    assert.equal(nextPhase('negotiated', name), 'negotiated', name);
    if (['GET_VRING_BASE', 'SET_VRING_ENABLE', 'SET_VRING_KICK'].includes(name)) continue;
    const expected = name === 'SET_FEATURES' ? 'negotiated' : 'connected';
    assert.equal(nextPhase('connected', name), expected, name);
  }
});
