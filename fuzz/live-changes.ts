/** What front-ends may change while rings run, and some of what they may not. */
import { type Action, action } from './action.ts';
import { REGIONS } from './geometry.ts';
import {
  addRegion,
  removeRegion,
  resumeRing,
  type Session,
  say,
  setAddresses,
  startLog,
  startRing,
  wholeTable,
} from './session.ts';

/** Memory is shared again, or taken away. */
function memoryChange(session: Session): Action[] {
  const { random } = session;
  const index = random.between(0, REGIONS.length - 1);
  return random.weighted<() => Action[]>([
    [3, () => [wholeTable(session)]],
    [3, () => [removeRegion(session, index), addRegion(session, index)]],
    [1, () => [removeRegion(session, index)]],
    [1, () => [addRegion(session, index)]],
    [1, () => [say(session, 'SET_MEM_TABLE', { table: '0', fds: 'memory0' })]],
    [1, () => [say(session, 'SET_MEM_TABLE', { table: '0,1', fds: 'memory0,blank' })]],
    [1, () => [say(session, 'SET_MEM_TABLE')]],
    [
      1,
      () => [
        say(session, 'ADD_MEM_REG', {
          guestAddress: `0x${(2 ** 41 + random.below(512) * 4096).toString(16)}`,
          userAddress: `0x${(2 ** 45 + random.below(512) * 4096).toString(16)}`,
          sizeBytes: 4096,
          mmapOffset: 0,
          fds: 'tiny',
        }),
      ],
    ],
  ])();
}

/** A ring stops, starts, or gets other descriptors. */
function ringChange(session: Session): Action[] {
  const { random, queues } = session;
  const index = random.pick(queues);
  const enable = (num: number): Action => say(session, 'SET_VRING_ENABLE', { index, num });
  return random.weighted<() => Action[]>([
    [3, () => [enable(0), enable(1)]],
    [1, () => [enable(random.below(2))]],
    [
      3,
      () => [
        action('send', ['GET_VRING_BASE'], { index }),
        ...(random.chance(80) ? resumeRing(session, index) : []),
      ],
    ],
    [
      2,
      () => [
        say(session, 'SET_VRING_CALL', {
          value: index,
          fds: random.pick([`call${index}`, 'event', `full${index}`]),
        }),
      ],
    ],
    [1, () => [say(session, 'SET_VRING_CALL', { value: 256 + index })]],
    [1, () => [say(session, 'SET_VRING_ERR', { value: index, fds: `full${index}` })]],
    [
      2,
      () => [
        say(session, 'SET_VRING_KICK', {
          value: index,
          fds: random.pick([`kick${index}`, `kick${index}`, 'event', `call${index}`]),
        }),
      ],
    ],
    [1, () => [say(session, 'SET_VRING_KICK', { value: 256 + index })]],
    [1, () => [setAddresses(session, index, random.below(2))]],
    [1, () => [action('send', ['GET_VRING_BASE'], { index }), ...startRing(session, index)]],
  ])();
}

/** The device, as a whole, changes. */
function deviceChange(session: Session): Action[] {
  const { random, features } = session;
  return random.weighted<() => Action[]>([
    [3, () => startLog(session)],
    [2, () => [say(session, 'SET_FEATURES', { value: `0x${features.toString(16)}` })]],
    [2, () => [say(session, 'SET_STATUS', { value: random.pick([0, 1, 7, 15, 79, 128, 255]) })]],
    [
      2,
      () => [action('send', ['GET_CONFIG'], { offset: random.below(97), size: random.below(100) })],
    ],
    [
      2,
      () => [
        say(session, 'SET_CONFIG', {
          offset: 32,
          size: 1,
          bytes: random.pick(['00', '01', 'ff']),
          flags: 0,
        }),
      ],
    ],
    [1, () => [say(session, 'SET_CONFIG', { offset: 0, size: 96, flags: random.below(3) })]],
    [
      1,
      () => [
        say(session, 'RESET_DEVICE'),
        ...session.queues.flatMap((queue) => startRing(session, queue)),
      ],
    ],
    [1, () => [say(session, 'RESET_OWNER')]],
    [1, () => [say(session, 'SET_LOG_FD', { fds: random.pick(['event', 'full3']) })]],
    [1, () => [say(session, 'SET_BACKEND_REQ_FD', { fds: 'socket' })]],
    [1, () => [action('signal', ['SIGHUP'])]],
    [
      1,
      () => [
        action('flood', [random.pick(['GET_FEATURES', 'SET_OWNER', 'GET_CONFIG'])], {
          times: random.pick([10, 200, 3000]),
        }),
      ],
    ],
  ])();
}

/** One change of a running session. */
export function liveChange(session: Session): Action[] {
  return session.random.weighted<() => Action[]>([
    [4, () => memoryChange(session)],
    [5, () => ringChange(session)],
    [4, () => deviceChange(session)],
    [2, () => [action('await')]],
  ])();
}
