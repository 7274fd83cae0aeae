/**
 * Whether guests can run on the host's processors, or have to be emulated.
 *
 * That /dev/kvm exists says little: nested and restricted hosts have it and hang. So a guest is
 * booted once, and the result is kept until the host is restarted.
 */
import { accessSync, constants, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { guestCache } from '../../tools/guest/workspace.ts';
import type { GuestAssets } from '../../tools/guest-assets.ts';
import type { Accelerator } from './guest-options.ts';
import { GuestError, runGuest } from './guest-run.ts';

/** `kvm` or `tcg`: use that one, without a trial. */
const OVERRIDE = 'VHOSTKIT_VM_ACCELERATOR';

/** With KVM a guest is through after about a second. */
const TRIAL_TIMEOUT_MS = 15_000;

let chosen: Promise<Accelerator> | undefined;

/** The accelerator for guests on this host; takes up to 15 s at the first call after a restart. */
export function chooseAccelerator(assets: GuestAssets): Promise<Accelerator> {
  chosen ??= choose(assets);
  return chosen;
}

async function choose(assets: GuestAssets): Promise<Accelerator> {
  const override = process.env[OVERRIDE];
  if (override === 'kvm' || override === 'tcg') return override;
  if (override !== undefined) throw new Error(`${OVERRIDE}=${override}: neither kvm nor tcg`);
  if (!kvmIsAccessible()) return 'tcg';
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const known = readResult(bootId);
  if (known !== undefined) return known;
  const accelerator = await tryKvm(assets);
  writeResult({ bootId, accelerator });
  return accelerator;
}

function kvmIsAccessible(): boolean {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

async function tryKvm(assets: GuestAssets): Promise<Accelerator> {
  try {
    await runGuest({ script: '', timeoutMs: TRIAL_TIMEOUT_MS }, assets, 'kvm');
    return 'kvm';
  } catch (error) {
    if (error instanceof GuestError) return 'tcg';
    throw error;
  }
}

interface Result {
  /** The host's boot that the result is of. */
  readonly bootId: string;
  readonly accelerator: Accelerator;
}

function resultPath(): string {
  return join(guestCache(), 'accelerator.json');
}

function readResult(bootId: string): Accelerator | undefined {
  try {
    const result = JSON.parse(readFileSync(resultPath(), 'utf8')) as Result;
    return result.bootId === bootId ? result.accelerator : undefined;
  } catch {
    // No result, or one that another version wrote: try again.
    return undefined;
  }
}

function writeResult(result: Result): void {
  // Test processes may do this at the same time: never show a half-written file.
  const incoming = `${resultPath()}.${process.pid}`;
  writeFileSync(incoming, JSON.stringify(result));
  renameSync(incoming, resultPath());
}
