/** The address space of this process, and the garbage collector that shapes it. */
import { readFileSync } from 'node:fs';
import { setImmediate as nextEventLoopTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Whether an address lies in any mapping (proc(5), maps). */
export function isMapped(address: number): boolean {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .some((line) => {
      const [start, end] = line
        .split(' ')[0]
        .split('-')
        .map((text) => Number.parseInt(text, 16));
      return start <= address && address < end;
    });
}

/** Collect all garbage now. Finalizers run in later turns of the event loop. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}

/** Collect garbage until `condition` holds. False if it did not come true. */
export async function collectUntil(condition: () => boolean, tries = 100): Promise<boolean> {
  for (let count = 0; count < tries; count++) {
    if (condition()) return true;
    collectGarbage();
    await nextEventLoopTurn();
  }
  return condition();
}
