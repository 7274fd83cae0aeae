/** How many cases a property test tries, and from which seed. */

/**
 * Parameters for `fc.assert`. A failure prints its seed; run that again with
 * `VHOSTKIT_SEED=<seed> npm test`. `VHOSTKIT_RUNS=<factor>` tries that many times more cases.
 */
export function propertyOptions(numRuns: number): { numRuns: number; seed?: number } {
  const factor = Number(process.env.VHOSTKIT_RUNS ?? 1);
  const seed = process.env.VHOSTKIT_SEED;
  return { numRuns: Math.ceil(numRuns * factor), ...(seed ? { seed: Number(seed) } : {}) };
}
