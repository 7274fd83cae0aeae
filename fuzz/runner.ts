/** Carries cases out against servers, and says what is wrong after each. */
import type { Reactor } from '../src/sys/index.ts';
import type { FuzzCase } from './action.ts';
import { type AttackCounts, noCounts } from './attack-place.ts';
import { attack } from './attacker.ts';
import type { Servers } from './servers.ts';
import type { Patience, Target, Violation, ViolationKind } from './target.ts';

/** What cases are carried out with. */
export interface Bench {
  readonly reactor: Reactor;
  readonly servers: Servers;
}

/** How thoroughly to look after a case. */
export interface Look {
  readonly patience: Patience;
  /** Also at what takes longer to see. */
  readonly isInspection: boolean;
}

/** A run of a case: the server it was carried out against is gone if something is wrong. */
export interface CaseRun {
  readonly target: Target;
  readonly violation: Violation | undefined;
  /** The last the server has said, if something is wrong. */
  readonly log: readonly string[];
}

/** Carry a case out, and look. @throws CaseError for a case that makes no sense. */
export async function runCase(
  { reactor, servers }: Bench,
  { serverOptions, actions }: FuzzCase,
  look: Look,
  counts: AttackCounts = noCounts(),
): Promise<CaseRun> {
  const target = await servers.get(serverOptions);
  const { socketPath, pid } = target;
  await attack({ reactor, socketPath, pid, counts }, actions);
  const { patience, isInspection } = look;
  const cutsMemory = actions.some(({ verb }) => verb === 'resize');
  const violation =
    (await target.check(patience, cutsMemory)) ??
    (isInspection ? await target.inspect(patience) : undefined);
  const log = [...target.log];
  if (violation !== undefined) await servers.discard(target);
  return { target, violation, log };
}

/** Kinds that only an inspection shows. */
const SLOW_KINDS: ReadonlySet<ViolationKind> = new Set([
  'wake-ups',
  'mappings',
  'memory',
  'threads',
]);

/** How often a case has to be carried out until it shows a kind of violation, if it does. */
export async function triesUntil(
  bench: Bench,
  fuzzCase: FuzzCase,
  kind: ViolationKind,
  tries: number,
  patience: Patience,
): Promise<number | undefined> {
  const look: Look = { patience, isInspection: SLOW_KINDS.has(kind) };
  for (let count = 1; count <= tries; count++) {
    const { violation } = await runCase(bench, fuzzCase, look);
    if (violation?.kind === kind) return count;
  }
  return undefined;
}
