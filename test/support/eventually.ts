/** Waiting for something that happens in another process. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Generous: a busy machine shall not fail a test. */
const DEADLINE_MS = 20_000;
const INTERVAL_MS = 2;

/**
 * Wait until `probe` gives a value other than `undefined` and `false`, and return it.
 *
 * @param what - for the error after the deadline: what did not happen.
 */
export async function eventually<Value>(
  what: string | (() => string),
  probe: () => Value | undefined | false,
): Promise<Value> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  for (;;) {
    const value = probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadlineMs) {
      const text = typeof what === 'string' ? what : what();
      throw new Error(`not within ${DEADLINE_MS} ms: ${text}`);
    }
    await sleep(INTERVAL_MS);
  }
}
