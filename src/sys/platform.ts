/**
 * The machines vhostkit runs on, and what depends on them.
 *
 * Everything in `src/sys/` assumes a 64-bit little-endian Linux: structure layouts, system call
 * numbers and the rings in shared memory are written for it.
 */
import { endianness } from 'node:os';

const SUPPORTED_ARCHITECTURES: readonly string[] = ['x64', 'arm64'];

/** Why this machine cannot run vhostkit, or `undefined` when it can. */
export function unsupportedPlatform(
  platform: string = process.platform,
  architecture: string = process.arch,
): string | undefined {
  if (
    platform === 'linux' &&
    SUPPORTED_ARCHITECTURES.includes(architecture) &&
    endianness() === 'LE'
  ) {
    return undefined;
  }
  return `vhostkit runs on Linux on x86-64 and arm64 only; this is ${platform} on ${architecture}`;
}

/** Smallest unit of `mmap`, in bytes: 4096 on x86-64; arm64 kernels may use up to 64 KiB. */
export const MAX_PAGE_BYTES = 65536;
