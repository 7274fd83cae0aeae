/** Mutations of cases: lines are lost, doubled, exchanged and put in, and their values changed. */
import { type Action, action } from './action.ts';
import { ODD_DESCRIPTORS } from './descriptors.ts';
import { declarationOf, MESSAGE_NAMES } from './frames.ts';
import type { Random } from './random.ts';
import type { Session } from './session.ts';
import {
  awkwardNumber,
  dataAddress,
  descriptorFlags,
  descriptorLength,
  ringAddress,
} from './values.ts';
import { sectorFor } from './workload.ts';

/**
 * Where an image can be written, these stay as they are: bytes that are a ring here would be
 * requests there.
 */
const CAREFUL_KEYS: ReadonlySet<string> = new Set(['mmapOffset', 'guestAddress']);
/** Keys whose values are no numbers, or mean something only to the case itself. */
const OWN_KEYS: ReadonlySet<string> = new Set([
  ...['fds', 'table', 'region', 'ranges', 'bytes', 'payload', 'seed', 'times', 'queue', 'data'],
  ...['room', 'pieces', 'a', 'b', 'chunk', 'cut', 'append'],
]);
/** What a region has beside its number. */
const REGION_KEYS = ['sizeBytes', 'userAddress', 'guestAddress', 'mmapOffset'];

function otherValue(session: Session, key: string): string {
  const { random } = session;
  switch (key) {
    case 'sector':
      return `0x${sectorFor(session).toString(16)}`;
    case 'address':
      return dataAddress(random);
    case 'length':
      return String(descriptorLength(random));
    case 'flags':
      return String(descriptorFlags(random));
    case 'descriptor':
    case 'available':
    case 'used':
      return ringAddress(random);
    case 'type':
      return String(random.pick([0, 1, 4, 8, 11, 13, 77]));
    default:
      return `0x${awkwardNumber(random).toString(16)}`;
  }
}

/** Change one of an action's numbers. */
function changeValue(session: Session, old: Action): Action {
  const { random, profile } = session;
  const isRegion = old.verb === 'send' && old.values.has('region');
  const keys = [...old.values.keys(), ...(isRegion ? REGION_KEYS : [])].filter((key) => {
    return !OWN_KEYS.has(key) && !(profile.isCareful && CAREFUL_KEYS.has(key));
  });
  if (keys.length === 0) return old;
  const key = random.pick(keys);
  return { ...old, values: new Map([...old.values, [key, otherValue(session, key)]]) };
}

function changeDescriptors({ random }: Session, old: Action): Action {
  const names = (old.values.get('fds') ?? '').split(',').filter(Boolean);
  const changed = random.weighted<() => string[]>([
    [3, () => names.map((name) => (random.chance(60) ? random.pick(ODD_DESCRIPTORS) : name))],
    [2, () => names.slice(1)],
    [2, () => [...names, random.pick(ODD_DESCRIPTORS)]],
    [1, () => Array.from({ length: random.pick([9, 32]) }, () => random.pick(ODD_DESCRIPTORS))],
  ])();
  return { ...old, values: new Map([...old.values, ['fds', changed.join(',')]]) };
}

/** Lie in a frame's header, cut it short, or send it in pieces. */
function changeFraming({ random }: Session, old: Action): Action {
  const pair = random.weighted<() => [string, string]>([
    [2, () => ['header-size', String(random.pick([0, 1, 7, 8, 4096, 4097, 65535, 2 ** 32 - 1]))]],
    [2, () => ['header-flags', String(random.pick([0, 2, 3, 5, 9, 13, 0xfffffff1]))]],
    [1, () => ['header-id', String(random.pick([0, 1, 2, 5, 19, 20, 33, 46, 47, 255, 2 ** 31]))]],
    [2, () => ['cut', String(random.between(1, 16))]],
    [4, () => ['chunk', String(random.pick([1, 1, 3, 12, 13]))]],
    [1, () => ['append', '00'.repeat(random.pick([1, 8, 100]))]],
  ])();
  const words = random.chance(10) ? [...old.words, 'spread'] : old.words;
  return { ...old, words, values: new Map([...old.values, pair]) };
}

/** A message with whatever in it. */
export function randomMessage({ random, profile }: Session): Action {
  const name = random.pick(MESSAGE_NAMES);
  const { shape, fds } = declarationOf(name);
  const fields = shape.kind === 'empty' ? [] : Object.keys(shape.struct.fields);
  const values: Record<string, string> = {};
  for (const field of fields) {
    if (profile.isCareful && CAREFUL_KEYS.has(field)) continue;
    if (random.chance(70)) values[field] = `0x${awkwardNumber(random).toString(16)}`;
  }
  if (shape.kind === 'items') values.table = random.pick(['0', '1,2', '0,1,2', '0,0', '']);
  const count = random.between(fds.min, fds.max);
  const names = Array.from({ length: count }, () => random.pick(ODD_DESCRIPTORS));
  if (names.length > 0) values.fds = names.join(',');
  return action('send', [name, ...(random.chance(50) ? ['need-reply'] : [])], values);
}

/** Bytes that may be a frame, or not. */
function randomBytes({ random }: Session): Action {
  const count = random.pick([1, 4, 12, 13, 40]);
  const bytes = Array.from({ length: count }, () =>
    random.below(256).toString(16).padStart(2, '0'),
  );
  return action(
    'raw',
    [bytes.join('')],
    random.chance(30) ? { fds: random.pick(ODD_DESCRIPTORS) } : {},
  );
}

function intruder(session: Session): Action {
  const { random } = session;
  return random.weighted<() => Action>([
    [8, () => randomMessage(session)],
    [2, () => randomBytes(session)],
    [1, () => action('connect', [random.pick(['1', '2', '3'])])],
    [1, () => action('use', [random.pick(['1', '2'])])],
    [1, () => action('hang-up')],
    [1, () => action('stop-reading')],
    [1, () => action('await')],
    [1, () => action('connects', [random.pick([1, 5, 30])])],
    [1, () => action('pile', [random.pick([1, 5, 30])])],
  ])();
}

/** Change a case in one place. */
export function mutate(session: Session, actions: readonly Action[]): Action[] {
  const { random } = session;
  const at = random.below(actions.length);
  const old = actions[at];
  const replaced = (...by: Action[]): Action[] => actions.toSpliced(at, 1, ...by);
  const isMessage = old.verb === 'send';
  return random.weighted<() => Action[]>([
    [2, () => replaced()],
    [2, () => replaced(old, old)],
    [3, () => replaced(old, intruder(session))],
    [2, () => moved(random, actions, at)],
    [6, () => replaced(changeValue(session, old))],
    [isMessage ? 3 : 0, () => replaced(changeDescriptors(session, old))],
    [isMessage ? 3 : 0, () => replaced(changeFraming(session, old))],
  ])();
}

function moved(random: Random, actions: readonly Action[], at: number): Action[] {
  const without = actions.toSpliced(at, 1);
  return without.toSpliced(random.below(without.length + 1), 0, actions[at]);
}
