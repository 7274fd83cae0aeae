/** Counting this process's own descriptors. */
import { readdirSync } from 'node:fs';
import { eventually } from './eventually.ts';

const STEADY_LOOKS = 20;

/** How many are open now. */
export function countDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

/** How many are open once earlier tests' threads have ended and closed theirs. */
export function steadyDescriptors(): Promise<number> {
  let last = -1;
  let looks = 0;
  return eventually('the number of open descriptors is steady', () => {
    const now = countDescriptors();
    looks = now === last ? looks + 1 : 0;
    last = now;
    return looks >= STEADY_LOOKS ? now : undefined;
  });
}
