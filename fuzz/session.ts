/** Sessions as a front-end has them, as actions: negotiation, memory, rings. Where cases begin. */
import { F_LOG_ALL, F_PROTOCOL_FEATURES, protocolFeatureSet } from '../src/vhost-user/index.ts';
import { BlockFeature, featureSet } from '../src/virtio-blk/index.ts';
import { RingFeature } from '../src/virtqueue/index.ts';
import { type Action, action } from './action.ts';
import { QUEUES, REGIONS, ringPlace } from './geometry.ts';
import { addressText } from './numbers.ts';
import type { Profile } from './profiles.ts';
import type { Random } from './random.ts';

/** A session to be: what was chosen for it. */
export interface Session {
  readonly random: Random;
  readonly profile: Profile;
  readonly isPacked: boolean;
  readonly features: bigint;
  readonly queues: readonly number[];
  readonly queueSize: number;
  /** Whether messages ask for an answer. */
  readonly asksForAnswers: boolean;
}

const REQUIRED = featureSet(RingFeature.VERSION_1, F_PROTOCOL_FEATURES);
const PROTOCOL_FEATURES = protocolFeatureSet([
  ...(['MQ', 'LOG_SHMFD', 'REPLY_ACK', 'BACKEND_REQ', 'CONFIG', 'INFLIGHT_SHMFD'] as const),
  ...(['RESET_DEVICE', 'CONFIGURE_MEM_SLOTS', 'STATUS'] as const),
]);
const LOG_BYTES = 2 ** 18;

/** Features that the server has, and a front-end may take or leave. */
function optionalFeatures({ isReadOnly }: Profile): readonly number[] {
  return [
    ...[RingFeature.INDIRECT_DESC, RingFeature.EVENT_IDX, BlockFeature.FLUSH, BlockFeature.MQ],
    ...[BlockFeature.CONFIG_WCE, BlockFeature.BLK_SIZE, BlockFeature.SEG_MAX],
    ...(isReadOnly ? [BlockFeature.RO] : [BlockFeature.DISCARD, BlockFeature.WRITE_ZEROES]),
  ];
}

/** Choose a session. */
export function planSession(random: Random, profile: Profile): Session {
  const isPacked = random.chance(40);
  const taken = optionalFeatures(profile).filter(() => random.chance(75));
  const ring = isPacked ? [RingFeature.RING_PACKED] : [];
  const available = Math.min(QUEUES, profile.queues);
  const sizes = isPacked ? [1, 2, 3, 7, 16, 100, 128, 255] : [1, 2, 4, 8, 16, 64, 128];
  const size = random.chance(50) ? random.pick(sizes) : 64;
  return {
    ...{ random, profile, isPacked },
    features: REQUIRED | featureSet(...taken, ...ring),
    queues: Array.from({ length: random.between(1, available) }, (_, index) => index),
    queueSize: Math.min(size, profile.maxQueueSize),
    asksForAnswers: random.chance(80),
  };
}

/** A message; it asks for an answer where the session does. */
export function say(
  session: Session,
  name: string,
  values: Readonly<Record<string, string | number | bigint | undefined>> = {},
): Action {
  return action('send', [name, ...(session.asksForAnswers ? ['need-reply'] : [])], values);
}

/** Connect and agree on features. */
export function negotiation(session: Session): Action[] {
  const { random, features } = session;
  const some = (name: string, values = {}): Action[] =>
    random.chance(40) ? [say(session, name, values)] : [];
  return [
    action('connect'),
    ...some('GET_FEATURES'),
    ...some('GET_PROTOCOL_FEATURES'),
    action('send', ['SET_PROTOCOL_FEATURES'], { value: `0x${PROTOCOL_FEATURES.toString(16)}` }),
    ...some('SET_OWNER'),
    ...some('GET_QUEUE_NUM'),
    ...some('GET_MAX_MEM_SLOTS'),
    ...some('SET_BACKEND_REQ_FD', { fds: 'socket' }),
    ...some('GET_CONFIG', { offset: 0, size: 60 }),
    say(session, 'SET_FEATURES', { value: `0x${features.toString(16)}` }),
  ];
}

/** Share memory: all regions at once, or one by one. */
export function shareMemory(session: Session): Action[] {
  const indices = REGIONS.map((_, index) => index);
  if (session.random.chance(50)) return [wholeTable(session)];
  return indices.map((index) => addRegion(session, index));
}

export function wholeTable(session: Session): Action {
  const indices = REGIONS.map((_, index) => index);
  const fds = indices.map((index) => `memory${index}`).join(',');
  return say(session, 'SET_MEM_TABLE', { table: indices.join(','), fds });
}

export function addRegion(session: Session, index: number): Action {
  return say(session, 'ADD_MEM_REG', { region: index, fds: `memory${index}` });
}

export function removeRegion(session: Session, index: number): Action {
  return say(session, 'REM_MEM_REG', { region: index });
}

export function setAddresses(session: Session, queue: number, flags = 0): Action {
  const { descriptors, available, used } = ringPlace(queue);
  return say(session, 'SET_VRING_ADDR', {
    ...{ index: queue, flags },
    descriptor: addressText('user', 0, descriptors),
    available: addressText('user', 0, available),
    used: addressText('user', 0, used),
    ...(flags === 0 ? {} : { log: addressText('guest', 0, used) }),
  });
}

/** A ring's size, place and descriptors: it runs after that. */
export function startRing(session: Session, queue: number): Action[] {
  const { isPacked, queueSize, random } = session;
  return [
    action('ring', isPacked ? ['packed'] : [], { queue, size: queueSize }),
    say(session, 'SET_VRING_NUM', { index: queue, num: queueSize }),
    ...resumeRing(session, queue),
    ...(random.chance(70)
      ? [say(session, 'SET_VRING_ERR', { value: queue, fds: `err${queue}` })]
      : []),
    say(session, 'SET_VRING_ENABLE', { index: queue, num: 1 }),
  ];
}

/** Go on with a ring that was stopped, from where its driver stands. */
export function resumeRing(session: Session, queue: number): Action[] {
  const isPolled = session.random.chance(5);
  return [
    say(session, 'SET_VRING_BASE', { index: queue, num: 'base' }),
    setAddresses(session, queue),
    say(session, 'SET_VRING_CALL', { value: queue, fds: `call${queue}` }),
    isPolled
      ? say(session, 'SET_VRING_KICK', { value: 256 + queue })
      : say(session, 'SET_VRING_KICK', { value: queue, fds: `kick${queue}` }),
  ];
}

/** Have all written pages marked, from now on. */
export function startLog(session: Session): Action[] {
  const features = session.features | (1n << BigInt(F_LOG_ALL));
  return [
    say(session, 'SET_LOG_BASE', { sizeBytes: LOG_BYTES, offset: 0, fds: 'log' }),
    ...(session.random.chance(50) ? [say(session, 'SET_LOG_FD', { fds: 'event' })] : []),
    say(session, 'SET_FEATURES', { value: `0x${features.toString(16)}` }),
  ];
}

/** Memory in which requests under way are written down; before rings start. */
export function trackInflight({ random, ...session }: Session): Action[] {
  const { queues, queueSize } = session;
  const shape = { numQueues: queues.length, queueSize };
  return [
    action('send', ['GET_INFLIGHT_FD'], shape),
    action('await'),
    action('send', ['SET_INFLIGHT_FD'], {
      ...{ mmapSize: random.pick([65536, 65536, 4096]), mmapOffset: 0, ...shape },
      fds: random.pick(['inflight', 'blank', 'memory2']),
    }),
  ];
}
