/** What cases do to rings that run: requests, wrong requests, and changes behind the device's back. */
import { hasFeature } from '../src/virtio-blk/index.ts';
import { RingFeature } from '../src/virtqueue/index.ts';
import { type Action, action } from './action.ts';
import type { Session } from './session.ts';
import {
  anyAddress,
  anySector,
  awkwardNumber,
  dataAddress,
  descriptorFlags,
  descriptorLength,
  windowSector,
} from './values.ts';

const DATA_BYTES = [512, 512, 1024, 4096, 4096, 8192, 65536, 131072];
/** Types that do not write: 3, 5, 6 are none. */
const HARMLESS_TYPES = [0, 3, 4, 5, 6, 8, 0x100, 0xffffffff];

/** A sector for a request; where writes count, also reads keep to the window. */
export function sectorFor({ random, profile }: Session): bigint {
  return profile.isCareful ? windowSector(random) : anySector(random);
}

function addressFor({ random, profile }: Session): string {
  return profile.isCareful ? dataAddress(random) : anyAddress(random);
}

function layoutWords({ random, features }: Session): string[] {
  const mayBeIndirect = hasFeature(features, RingFeature.INDIRECT_DESC) || random.chance(5);
  return [
    ...(mayBeIndirect && random.chance(40) ? ['indirect'] : []),
    ...(random.chance(5) ? ['edge'] : []),
    ...(random.chance(15) ? ['quiet'] : []),
  ];
}

function rangesText(session: Session): string {
  const { random } = session;
  const count = random.chance(80) ? 1 : random.between(1, 18);
  const sectors = (): bigint =>
    random.chance(80) ? BigInt(random.between(1, 64)) : awkwardNumber(random);
  const range = (): string =>
    `0x${sectorFor(session).toString(16)}:${sectors()}:${random.chance(85) ? random.below(2) : awkwardNumber(random)}`;
  return Array.from({ length: count }, range).join(',');
}

/** A request, mostly one as drivers make it. */
export function request(session: Session): Action {
  const { random, queues } = session;
  const queue = random.pick(queues);
  const layout = {
    queue,
    ...(random.chance(40) ? { pieces: random.between(2, 12) } : {}),
    ...(random.chance(10) ? { region: random.between(1, 2) } : {}),
    ...(random.chance(15) ? { times: random.between(2, 60) } : {}),
  };
  const words = layoutWords(session);
  const sector = `0x${sectorFor(session).toString(16)}`;
  const bytes = (): number =>
    random.chance(92) ? random.pick(DATA_BYTES) : random.pick([0, 1, 511, 513, 100_000, 2 ** 20]);
  return random.weighted<() => Action>([
    [8, () => action('request', words, { type: 0, sector, room: bytes(), ...layout })],
    [8, () => action('request', words, { type: 1, sector, data: bytes(), ...layout })],
    [2, () => action('request', words, { type: 4, ...layout })],
    [1, () => action('request', words, { type: 8, room: 20, ...layout })],
    [1, () => action('request', words, { type: 11, ranges: rangesText(session), ...layout })],
    [1, () => action('request', words, { type: 13, ranges: rangesText(session), ...layout })],
    [1, () => oddRequest(session, words, layout)],
  ])();
}

/** A request that has too much, too little, or the wrong way round. */
function oddRequest(session: Session, words: string[], layout: { queue: number }): Action {
  const { random } = session;
  return action('request', words, {
    type: random.pick([0, 1, 4, 8, 11, 13, ...HARMLESS_TYPES]),
    sector: `0x${sectorFor(session).toString(16)}`,
    ...(random.chance(60) ? { data: random.pick([1, 16, 17, 48, 512, 4096]) } : {}),
    ...(random.chance(60) ? { room: random.pick([1, 19, 20, 21, 512, 4096]) } : {}),
    ...layout,
  });
}

/** Change a descriptor, and offer its chain again. */
function changedDescriptor(session: Session): Action[] {
  const { random, queues } = session;
  const queue = random.pick(queues);
  const change = random.weighted<() => Record<string, string | number>>([
    [4, () => ({ length: descriptorLength(random) })],
    [4, () => ({ flags: descriptorFlags(random) })],
    [3, () => ({ address: addressFor(session) })],
    [3, () => ({ next: random.chance(60) ? random.below(4) : random.below(65536) })],
    [1, () => ({ length: descriptorLength(random), flags: descriptorFlags(random) })],
  ])();
  const base = request(session);
  return [
    { ...base, values: new Map([...base.values, ['queue', String(queue)]]) },
    action('descriptor', [random.below(4)], { queue, ...change }),
    ...(random.chance(60) ? [action('offer', [random.below(4)], { queue })] : []),
  ];
}

function flicker(session: Session): Action {
  const { random, queues } = session;
  const queue = random.pick(queues);
  const times = random.pick([500, 5000, 20_000]);
  const descriptor = random.below(3);
  /** A field, and how to make either of its values. */
  const between =
    (field: string, make: () => string | number | bigint, more: Record<string, number> = {}) =>
    (): Action =>
      action('flicker', [field], { queue, ...more, times, a: make(), b: make() });
  return random.weighted<() => Action>([
    [3, between('length', () => descriptorLength(random), { descriptor })],
    [3, between('flags', () => descriptorFlags(random), { descriptor })],
    [2, between('address', () => addressFor(session), { descriptor })],
    [2, between('next', () => random.below(20), { descriptor })],
    [2, between('type', () => random.pick([0, 1, 4, 8, 11, 13]))],
    [2, between('sector', () => sectorFor(session))],
    [1, between('index', () => random.below(300))],
  ])();
}

function ringTricks(session: Session): Action[] {
  const { random, queues, queueSize } = session;
  const queue = random.pick(queues);
  return random.weighted<() => Action[]>([
    [
      3,
      () => [
        action('offer', [random.chance(50) ? random.below(queueSize) : random.below(65536)], {
          queue,
          times: random.pick([1, 1, 3, 200]),
        }),
      ],
    ],
    [
      2,
      () => [
        action('available', [], {
          queue,
          jump: random.pick([1, 2, queueSize, queueSize + 1, 1000, 32768, -1, -2]),
        }),
      ],
    ],
    [
      1,
      () => [
        action('available', [], {
          queue,
          flags: random.pick([0, 1, 2, 0xffff]),
          event: random.below(65536),
        }),
      ],
    ],
    [1, () => [action('used', [], { queue, index: random.below(65536), flags: random.below(3) })]],
    [
      2,
      () => [
        action('scribble', [], { queue, seed: random.u32(), times: random.pick([10, 100, 1000]) }),
      ],
    ],
    [
      1,
      () => [
        action('header', [], {
          type: random.pick([1, 11, 13, 8, 77]),
          sector: `0x${sectorFor(session).toString(16)}`,
        }),
      ],
    ],
    [
      1,
      () => [
        action('ring', session.isPacked === random.chance(80) ? ['packed'] : [], {
          queue,
          size: queueSize,
        }),
      ],
    ],
  ])();
}

/** One thing to do to running rings. */
export function ringAction(session: Session): Action[] {
  const { random, queues } = session;
  const queue = random.pick(queues);
  return random.weighted<() => Action[]>([
    [30, () => [request(session)]],
    [8, () => changedDescriptor(session)],
    [6, () => [request(session), flicker(session)]],
    [6, () => ringTricks(session)],
    [3, () => [action('kick', [random.pick([1, 10, 5000])], { queue })]],
    [3, () => [action('settle', [], { queue })]],
    [1, () => [action('fill', [random.pick(['call', 'err', 'kick'])], { queue })]],
    [1, () => [action('pause', [random.pick([1, 3, 20])])]],
  ])();
}
