/**
 * Several things under way at once, and their end. The memory of a request is lent until its method
 * settles: none may go on behind that, not even when another one has failed.
 */
import type { Settled } from './object/disk-object.ts';
import { promiseOf } from './object/object-call.ts';

/** Begin all, and wait until all have ended. Fails with the error of the first that did. */
export function settleAll(tasks: readonly (() => Settled)[]): Settled {
  let failure: { readonly error: unknown } | undefined;
  const pending: Promise<void>[] = [];
  const fail = (error: unknown): void => {
    failure ??= { error };
  };
  for (const task of tasks) {
    try {
      const promise = promiseOf(task());
      if (promise !== undefined) pending.push(promise.then(undefined, fail));
    } catch (error) {
      fail(error);
    }
  }
  if (pending.length === 0) {
    if (failure !== undefined) throw failure.error;
    return undefined;
  }
  return Promise.all(pending).then(() => {
    if (failure !== undefined) throw failure.error;
  });
}

/** Do something for each of some items, at most `limit` at once; begin no more after a failure. */
export async function forEachAtOnce<Item>(
  items: Iterable<Item>,
  limit: number,
  action: (item: Item) => Settled,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let hasFailed = false;
  const lane = async (): Promise<void> => {
    for (let next = iterator.next(); !next.done && !hasFailed; next = iterator.next()) {
      try {
        await action(next.value);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  await settleAll(Array.from({ length: limit }, () => lane));
}
