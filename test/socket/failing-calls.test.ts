/**
 * The n-th call that the program makes fails, for calls of all kinds in all its threads, from its
 * start to its end. There are some 1,500 such faults; this test tries a few. `VHOSTKIT_SEED` chooses
 * others, `VHOSTKIT_RUNS=100` tries them all.
 */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import {
  type FailingCall,
  faultsOfProgram,
  liveWithFailing,
  type Verdict,
} from '../support/failing-program.ts';
import { seededRandom } from '../support/power-loss.ts';
import { propertyOptions } from '../support/property-options.ts';
import { SERVER_ENGINES } from '../support/served-disk.ts';

const SAMPLES = 16;
const SEED = 1;
const PARALLEL = Math.min(4, availableParallelism());

/** So many, of each function as often as of any other. */
function sample(faults: readonly FailingCall[], count: number, seed: number): FailingCall[] {
  if (count >= faults.length) return [...faults];
  const random = seededRandom(seed);
  const names = [...new Set(faults.map(({ name }) => name))];
  return Array.from({ length: count }, () => {
    const name = names[Math.floor(random() * names.length)];
    const ofName = faults.filter((fault) => fault.name === name);
    return ofName[Math.floor(random() * ofName.length)];
  });
}

for (const { engine, skip } of SERVER_ENGINES) {
  const { numRuns, seed = SEED } = propertyOptions(SAMPLES);
  const isX64 = process.arch === 'x64' ? false : 'the numbers of calls are those of x86-64';
  test(`a call that fails does no harm, ${engine}`, { skip: skip || isX64 }, async (t) => {
    const faults = await faultsOfProgram({ engine });
    const chosen = sample(faults, numRuns, seed);
    t.diagnostic(`seed ${seed}: ${chosen.length} of ${faults.length} faults`);
    const verdicts = new Map<Verdict, number>();
    const waiting = chosen.values();
    const work = async (): Promise<void> => {
      for (const fault of waiting) {
        const verdict = await tryOut(engine, fault);
        verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    t.diagnostic(JSON.stringify(Object.fromEntries(verdicts)));
  });
}

async function tryOut(engine: 'io_uring' | 'epoll', call: FailingCall): Promise<Verdict> {
  try {
    return await liveWithFailing({ engine }, call);
  } catch (error) {
    const { thread, name, number, fault } = call;
    const what = `thread ${thread}, ${name} number ${number}, ${fault}`;
    throw assert.fail(`${what}: ${(error as Error).message}`);
  }
}
