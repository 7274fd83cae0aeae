/**
 * Boots a real Linux guest on vhost-user-blk disks and runs a script of checks in it.
 *
 *     const report = await bootGuest({
 *       disks: [{ socketPath, numQueues: 2 }],
 *       script: 'check mkfs mkfs.ext4 -q /dev/vda',
 *     });
 *     assertChecks(report, ['mkfs']);
 */
import { findProgram } from '../../tools/guest/programs.ts';
import { ensureGuestAssets, GuestAssetsError } from '../../tools/guest-assets.ts';
import { tiedProcessRequirement } from '../support/tied-process.ts';
import { chooseAccelerator } from './accelerator.ts';
import type { GuestOptions } from './guest-options.ts';
import type { GuestReport } from './guest-report.ts';
import { GuestError, QEMU, runGuest } from './guest-run.ts';

/** A guest that panics so often has another reason. */
const MAX_BOOTS = 3;

export type { Accelerator, GuestDisk, GuestOptions, HostStep } from './guest-options.ts';
export { assertChecks, type GuestCheck, type GuestReport } from './guest-report.ts';
export { GuestError, type GuestErrorCode } from './guest-run.ts';

/**
 * Boot a guest, run its script, and wait until it has powered off. The report may hold failed
 * checks: see `assertChecks`. Rejects with a `GuestError` on a panic, a hang, a missing power-off
 * or a failure of QEMU. No process is left behind in any case.
 */
export async function bootGuest(options: GuestOptions): Promise<GuestReport> {
  const assets = ensureGuestAssets();
  const accelerator = await chooseAccelerator(assets);
  for (let boot = 1; ; boot++) {
    try {
      return await runGuest(options, assets, accelerator);
    } catch (error) {
      if (boot === MAX_BOOTS || accelerator !== 'tcg' || !isEmulatorPanic(error)) throw error;
      console.error("the emulator broke the guest's kernel while it booted: booting it again");
    }
  }
}

/**
 * While it boots, a kernel changes its own code on one processor with a breakpoint for the others.
 * With several emulated processors QEMU 7.2 now and then reports a breakpoint that the kernel has
 * taken away already. No disk has been touched then.
 */
function isEmulatorPanic(error: unknown): boolean {
  if (!(error instanceof GuestError) || error.code !== 'panic' || error.wasUp) return false;
  return error.console.includes('Oops: int3');
}

let requirements: { readonly reason: string | undefined } | undefined;

/**
 * Why guests can't be booted here, with what to install; undefined if they can. Makes the assets
 * at the first call if there are none, which downloads a kernel. Says the reason on standard
 * error too, because test runners show skipped tests as if all were well.
 */
export function guestRequirements(): string | undefined {
  if (requirements === undefined) {
    requirements = { reason: findReason() };
    if (requirements.reason !== undefined) {
      console.error(`SKIPPING TESTS IN GUESTS: ${requirements.reason}`);
    }
  }
  return requirements.reason;
}

function findReason(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `guests are for Linux on x86-64, not ${process.platform} on ${process.arch}`;
  }
  if (findProgram(QEMU) === undefined) {
    return `${QEMU} is missing; install it: apt-get install qemu-system-x86`;
  }
  const untied = tiedProcessRequirement();
  if (untied !== undefined) return untied;
  try {
    ensureGuestAssets({ log: (line) => console.error(`guest assets: ${line}`) });
    return undefined;
  } catch (error) {
    if (error instanceof GuestAssetsError) return error.message;
    throw error;
  }
}
