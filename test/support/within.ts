/** Promises that must not hang. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Generous: a busy machine shall not fail a test. */
let deadlineMs = 20_000;
const INTERVAL_MS = 2;

/** Another deadline, until it is disposed of: for promises that are known to hang. */
export function setDeadline(ms: number): Disposable {
  const before = deadlineMs;
  deadlineMs = ms;
  return {
    [Symbol.dispose]() {
      deadlineMs = before;
    },
  };
}

/** What the promise gives, or an error after the deadline. @param what - does not end. */
export async function within<Value>(promise: Promise<Value>, what: string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const ms = deadlineMs;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** Wait until `probe` is true; rejects after the deadline. */
export async function until(probe: () => boolean, what: () => string): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!probe()) {
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what()}`);
    await sleep(INTERVAL_MS);
  }
}
