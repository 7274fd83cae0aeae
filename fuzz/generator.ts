/**
 * Makes cases: from a seed and a number always the same. Most are sessions as front-ends have them,
 * with rings that run and a few things wrong, so that they get far before they are refused.
 */
import { type Action, action, type FuzzCase } from './action.ts';
import { liveChange } from './live-changes.ts';
import { mutate, randomMessage } from './mutation.ts';
import { OPTION_SETS, type Profile, profileOf } from './profiles.ts';
import { Random } from './random.ts';
import {
  negotiation,
  planSession,
  type Session,
  say,
  shareMemory,
  startLog,
  startRing,
  trackInflight,
} from './session.ts';
import { ringAction } from './workload.ts';

export interface GeneratorOptions {
  readonly seed: string;
  /** Options for every server; without any, sets of them take turns. */
  readonly serverOptions: readonly string[];
  /** Whether each client has a process of its own, so that memory may be cut off. */
  readonly isIsolated: boolean;
}

/** Cases that follow each other on the same server. */
const CASES_PER_SERVER = 10;
const MAX_WORK = 30;

function work(session: Session, isIsolated: boolean): Action[] {
  const { random } = session;
  const count = random.between(1, MAX_WORK);
  return Array.from({ length: count }, () =>
    random.weighted<() => Action[]>([
      [10, () => ringAction(session)],
      [3, () => liveChange(session)],
      [isIsolated ? 1 : 0, () => [cutMemory(random)]],
    ])(),
  ).flat();
}

function cutMemory(random: Random): Action {
  const region = random.below(3);
  return action('resize', [], { region, bytes: random.pick([0, 4096, 65536, 2 ** 17]) });
}

/** A session with all that belongs to it. */
function wholeSession(session: Session, isIsolated: boolean): Action[] {
  const { random, queues } = session;
  return [
    ...negotiation(session),
    ...shareMemory(session),
    ...(random.chance(25) ? trackInflight(session) : []),
    ...(random.chance(15) ? startLog(session) : []),
    ...queues.flatMap((queue) => startRing(session, queue)),
    ...(random.chance(70) ? [action('await')] : []),
    ...work(session, isIsolated),
    ...(random.chance(40) ? stops(session) : []),
    ...(random.chance(30) ? [action('await')] : []),
  ];
}

function stops(session: Session): Action[] {
  return session.queues.map((index) => say(session, 'GET_VRING_BASE', { index }));
}

/** Messages in any order, with anything in them. */
function chaos(session: Session): Action[] {
  const count = session.random.between(1, 25);
  const messages = Array.from({ length: count }, () => randomMessage(session));
  return [...negotiation(session), ...messages];
}

/** Clients in numbers, or such as do not listen. */
/** With a process for each client, a few are a crowd. */
function crowd({ random }: Session, isIsolated: boolean): Action[] {
  if (isIsolated) return [action('connects', [3]), action('pile', [random.between(1, 5)])];
  return random.weighted<() => Action[]>([
    [3, () => [action('connects', [random.pick([10, 200, 2000])])]],
    [2, () => [action('pile', [random.pick([3, 50, 120])])]],
    [
      2,
      () => [
        action('connect'),
        action('stop-reading'),
        action('flood', ['GET_FEATURES'], { times: 20_000 }),
      ],
    ],
    [
      1,
      () => [
        action('connect'),
        action('flood', ['GET_CONFIG'], { offset: 0, size: 60, times: 2000 }),
      ],
    ],
    [
      1,
      () => [
        action('connect'),
        action('stop-reading'),
        action('send', ['GET_FEATURES'], { chunk: 1 }),
        action('pile', [10]),
        action('pause', [50]),
      ],
    ],
  ])();
}

function actionsFor(session: Session, isIsolated: boolean): Action[] {
  const { random } = session;
  const base = random.weighted<() => Action[]>([
    [80, () => wholeSession(session, isIsolated)],
    [12, () => chaos(session)],
    [3, () => crowd(session, isIsolated)],
    [
      5,
      () => [
        ...wholeSession(session, isIsolated),
        action('connect', ['2']),
        ...wholeSession(session, isIsolated),
      ],
    ],
  ])();
  const mutations = random.weighted([
    [3, 0],
    [3, 1],
    [3, random.between(2, 4)],
    [1, random.between(5, 15)],
  ] as const);
  let actions = base;
  for (let count = 0; count < mutations && actions.length > 0; count++) {
    actions = mutate(session, actions);
  }
  return actions;
}

/** The case with a number. */
export function generateCase(options: GeneratorOptions, number: number): FuzzCase {
  const { seed, serverOptions, isIsolated } = options;
  const random = new Random(`${seed}:${number}`);
  const sets = serverOptions.length > 0 ? [serverOptions] : OPTION_SETS;
  const chosen = sets[Math.floor(number / CASES_PER_SERVER) % sets.length];
  const profile: Profile = profileOf(isIsolated ? ['--isolate', ...chosen] : chosen);
  const session = planSession(random, profile);
  return {
    serverOptions: profile.options,
    actions: actionsFor(session, isIsolated),
    remarks: [`case ${number} of seed ${seed}`],
  };
}
