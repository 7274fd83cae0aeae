/** Makes a case that shows something smaller, and sees that it still shows it. */
import { type Action, action, type FuzzCase } from './action.ts';
import { minimise } from './minimise.ts';
import { type Bench, triesUntil } from './runner.ts';
import { IMPATIENT, type Patience, type ViolationKind } from './target.ts';

/** What of a case is to stay true. */
export interface SmallerOptions {
  readonly bench: Bench;
  readonly kind: ViolationKind;
  /** How often the case was carried out until it was seen again. */
  readonly needed: number;
  readonly limitMs: number;
  /** How to look at what is left. */
  readonly patience: Patience;
}

/** Time for the server to do what it was asked, before the case ends and clients hang up. */
const CALM: Action = action('pause', [30]);
/** What happens so often in a row does not depend on luck. */
const IN_A_ROW = 2;
/** What is left of a case may depend on luck more than the case did. */
const LAST_TRIES = 12;

/** The smaller case; `undefined` if what is left did not show it again. */
export async function smallerCase(
  fuzzCase: FuzzCase,
  { bench, kind, needed, limitMs, patience }: SmallerOptions,
): Promise<FuzzCase | undefined> {
  const isShown = async (actions: readonly Action[], tries: number): Promise<boolean> =>
    (await triesUntil(bench, { ...fuzzCase, actions }, kind, tries, IMPATIENT)) !== undefined;
  const isAlwaysShown = async (actions: readonly Action[]): Promise<boolean> => {
    for (let count = 0; count < IN_A_ROW; count++) if (!(await isShown(actions, 1))) return false;
    return true;
  };
  // With a pause at the end, what the case needs is not a matter of who is faster.
  const isCalm = await isAlwaysShown([...fuzzCase.actions, CALM]);
  const end = isCalm ? [CALM] : [];
  // What happens now and then gets as many chances as it needed, and one more.
  const tries = isCalm ? 1 : needed + 1;
  const fewer = await minimise(
    fuzzCase.actions,
    (actions) => isShown([...actions, ...end], tries),
    limitMs,
  );
  const isNeedless = isCalm && (await isAlwaysShown(fewer));
  const smaller = { ...fuzzCase, actions: isNeedless ? fewer : [...fewer, ...end] };
  const isSure = (await triesUntil(bench, smaller, kind, LAST_TRIES, patience)) !== undefined;
  return isSure ? smaller : undefined;
}
