/**
 * Makes a case that fails smaller, as long as it fails: actions are left out, many at first and then
 * one by one (delta debugging), then words and values of those that are left.
 */
import type { Action } from './action.ts';

/** Whether these actions still show what the case has shown. */
export type StillFails = (actions: readonly Action[]) => Promise<boolean>;

/** Leave out as many actions as possible. */
async function withoutNeedless(
  actions: readonly Action[],
  stillFails: StillFails,
  isTimeUp: () => boolean,
): Promise<readonly Action[]> {
  let left = actions;
  for (let size = Math.ceil(left.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let start = 0; start < left.length && !isTimeUp(); ) {
      const fewer = left.toSpliced(start, size);
      if (fewer.length > 0 && (await stillFails(fewer))) left = fewer;
      else start += size;
    }
  }
  return left;
}

/** Actions that make no sense without their first word. */
const NAMED_VERBS: ReadonlySet<string> = new Set(['send', 'flood', 'raw', 'signal']);

/** Simpler versions of an action. */
function simpler(action: Action): Action[] {
  const { verb, words, values } = action;
  const kept = NAMED_VERBS.has(verb) ? 1 : 0;
  const withoutWords = words.slice(kept).map((_, index) => ({
    ...action,
    words: words.toSpliced(kept + index, 1),
  }));
  const withoutValues = [...values.keys()].map((key) => ({
    ...action,
    values: new Map([...values].filter(([other]) => other !== key)),
  }));
  const withSmaller = [...values]
    .filter(([key, value]) => key === 'times' && Number(value) > 1)
    .map(([key, value]) => ({
      ...action,
      values: new Map([...values, [key, String(Math.ceil(Number(value) / 2))]]),
    }));
  return [...withoutWords, ...withoutValues, ...withSmaller];
}

async function simplified(
  actions: readonly Action[],
  stillFails: StillFails,
  isTimeUp: () => boolean,
): Promise<readonly Action[]> {
  let left = actions;
  for (let at = 0; at < left.length; at++) {
    for (let isSimpler = true; isSimpler && !isTimeUp(); ) {
      isSimpler = false;
      for (const action of simpler(left[at])) {
        if (isTimeUp()) break;
        const candidate = left.toSpliced(at, 1, action);
        if (!(await stillFails(candidate))) continue;
        left = candidate;
        isSimpler = true;
        break;
      }
    }
  }
  return left;
}

/** See the module's comment. What is there when the time is up is returned. */
export async function minimise(
  actions: readonly Action[],
  stillFails: StillFails,
  limitMs: number,
): Promise<readonly Action[]> {
  const endMs = performance.now() + limitMs;
  const isTimeUp = (): boolean => performance.now() > endMs;
  let left = actions;
  for (;;) {
    const fewer = await withoutNeedless(left, stillFails, isTimeUp);
    if (fewer.length === left.length) break;
    left = fewer;
  }
  return simplified(left, stillFails, isTimeUp);
}
