/**
 * The states of a back-end session, as tables: which messages a phase of the session admits and
 * where they lead, and what starts and stops a ring (vhost-user.rst, "Ring states").
 *
 * Nothing here does anything: the session looks up what follows from a message and then does it.
 */
import { ProtocolError } from './errors.ts';
import type { FrontendMessageName } from './messages.ts';

/**
 * `connected`: features are being found out; `negotiated`: SET_FEATURES has been seen. QEMU sets
 * call and error descriptors, memory and configuration in either, so only what needs the features
 * is tied to the second.
 */
export type Phase = 'connected' | 'negotiated';

/** Messages that change the phase. */
const NEXT_PHASE: Partial<Record<FrontendMessageName, Phase>> = {
  SET_FEATURES: 'negotiated',
};

/** Messages that make sense only after SET_FEATURES. */
const NEEDS_FEATURES: ReadonlySet<FrontendMessageName> = new Set([
  'SET_VRING_KICK',
  'SET_VRING_ENABLE',
  'GET_VRING_BASE',
]);

/** The phase that follows. Throws a `ProtocolError` if the message does not belong here. */
export function nextPhase(phase: Phase, message: FrontendMessageName): Phase {
  if (phase === 'connected' && NEEDS_FEATURES.has(message)) {
    throw new ProtocolError('WRONG_STATE', 'comes before SET_FEATURES');
  }
  return NEXT_PHASE[message] ?? phase;
}

/** A ring is stopped or started, and disabled or enabled; it runs when started and enabled. */
export type RingState = 'stopped+disabled' | 'stopped+enabled' | 'started+disabled' | 'running';

/**
 * What happens to a ring: SET_VRING_KICK starts it, GET_VRING_BASE stops it, SET_VRING_ENABLE (or
 * SET_FEATURES without VHOST_USER_F_PROTOCOL_FEATURES) enables it, RESET_DEVICE resets it.
 */
export type RingEvent = 'start' | 'stop' | 'enable' | 'disable' | 'reset';

/** What the device has to do about it. `rewire`: use the new kick descriptor. */
export type RingEffect = 'none' | 'run' | 'halt' | 'rewire';

/** Where an event leads. */
export interface RingTransition {
  readonly next: RingState;
  readonly effect: RingEffect;
}

function to(next: RingState, effect: RingEffect = 'none'): RingTransition {
  return { next, effect };
}

/** State and event to transition: complete, so no combination is an accident. */
export const RING_TRANSITIONS: Readonly<
  Record<RingState, Readonly<Record<RingEvent, RingTransition>>>
> = {
  'stopped+disabled': {
    start: to('started+disabled'),
    stop: to('stopped+disabled'),
    enable: to('stopped+enabled'),
    disable: to('stopped+disabled'),
    reset: to('stopped+disabled'),
  },
  'stopped+enabled': {
    start: to('running', 'run'),
    stop: to('stopped+enabled'),
    enable: to('stopped+enabled'),
    disable: to('stopped+disabled'),
    reset: to('stopped+disabled'),
  },
  'started+disabled': {
    start: to('started+disabled'),
    stop: to('stopped+disabled'),
    enable: to('running', 'run'),
    disable: to('started+disabled'),
    reset: to('stopped+disabled'),
  },
  running: {
    start: to('running', 'rewire'),
    stop: to('stopped+enabled', 'halt'),
    enable: to('running'),
    disable: to('started+disabled', 'halt'),
    reset: to('stopped+disabled', 'halt'),
  },
};
