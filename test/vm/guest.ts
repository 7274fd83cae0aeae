/**
 * Boots a real Linux guest on vhost-user-blk disks and runs a script of checks in it.
 *
 *     const report = await bootGuest({
 *       disks: [{ socketPath, numQueues: 2 }],
 *       script: 'check mkfs mkfs.ext4 -q /dev/vda',
 *     });
 *     assertChecks(report, ['mkfs']);
 */
import { existsSync } from 'node:fs';
import { findProgram } from '../../tools/guest/programs.ts';
import { ensureGuestAssets, GuestAssetsError } from '../../tools/guest-assets.ts';
import { tiedProcessRequirement } from '../support/tied-process.ts';
import { chooseAccelerator } from './accelerator.ts';
import type { GuestOptions, MachineOptions } from './guest-options.ts';
import type { GuestReport } from './guest-report.ts';
import { QEMU, runGuest, runMachine } from './guest-run.ts';

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
  return runGuest(options, assets, accelerator);
}

/** UEFI for QEMU's machines: code and, in memory only, variables. */
const FIRMWARE_PATH = '/usr/share/ovmf/OVMF.fd';

/** What boots by firmware need besides a guest's requirements: the firmware and image makers. */
const FIRMWARE_PACKAGES = [
  { name: 'ovmf', present: () => existsSync(FIRMWARE_PATH) },
  { name: 'mtools', present: () => findProgram('mcopy') !== undefined },
  { name: 'xorriso', present: () => findProgram('xorriso') !== undefined },
];

/**
 * Start a machine whose firmware has to find a system on the disks: one of `makeBootImage`, which
 * holds the guest's script. QEMU gives no kernel. All else as with `bootGuest`.
 */
export async function bootByFirmware(options: MachineOptions): Promise<GuestReport> {
  const accelerator = await chooseAccelerator(ensureGuestAssets());
  return runMachine(options, { kind: 'firmware', firmwarePath: FIRMWARE_PATH }, accelerator);
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

/**
 * Why machines can't boot by firmware here, with what to install; undefined if they can. Says it on
 * standard error as `guestRequirements` does.
 */
export function firmwareRequirements(): string | undefined {
  const reason = guestRequirements();
  if (reason !== undefined) return reason;
  const absent = FIRMWARE_PACKAGES.filter(({ present }) => !present()).map(({ name }) => name);
  if (absent.length === 0) return undefined;
  const line = `${absent.join(', ')}: missing; install: apt-get install ${absent.join(' ')}`;
  console.error(`SKIPPING TESTS OF FIRMWARE: ${line}`);
  return line;
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
