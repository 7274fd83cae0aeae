/** What the disks below one say for it. */
import type { Disk, DiskClaim } from './disk.ts';

/** Resolves as the first `flushesFailed` does; `undefined`: none of them can. */
export function firstFailure(disks: readonly Disk[]): Promise<string> | undefined {
  const promises = disks.map((disk) => disk.flushesFailed);
  const real = promises.filter((promise) => promise !== undefined);
  return real.length === 0 ? undefined : Promise.race(real);
}

/** What has become of their names; `undefined`: nothing. */
export function nameProblems(disks: readonly Disk[]): string | undefined {
  const problems = disks.map((disk) => disk.nameProblem?.());
  return problems.filter((problem) => problem !== undefined).join('; ') || undefined;
}

/** All of them, or none. */
export function allClaims(claims: readonly (DiskClaim | undefined)[]): DiskClaim | undefined {
  const real = claims.filter((claim) => claim !== undefined);
  if (real.length === 0) return undefined;
  const release = (held: readonly DiskClaim[]): void => {
    for (const claim of held) claim.release();
  };
  const acquire = (): void => {
    real.forEach((claim, index) => {
      try {
        claim.acquire();
      } catch (error) {
        release(real.slice(0, index));
        throw error;
      }
    });
  };
  return { acquire, release: () => release(real) };
}
