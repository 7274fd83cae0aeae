/** The way out that always works. */
import { libc } from './libc.ts';

/**
 * End the process at once, with no clean-up. `process.exit` first waits for all worker threads to
 * return from native code, and one that sleeps in its reactor does not return by itself.
 */
export function exitNow(code: number): never {
  libc._exit(code);
  throw new Error('_exit returned');
}
