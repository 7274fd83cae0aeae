/**
 * Keeps two programs from writing one image.
 *
 * QEMU marks what it does with an image by shared locks on single bytes of it (block/file-posix.c):
 * byte 100 + p says "I use permission p", byte 200 + p "nobody else may". Before relying on that,
 * it asks whether somebody else holds the opposite byte. vhostkit uses the same bytes, so that it,
 * QEMU, qemu-img and qemu-storage-daemon exclude each other.
 */
import { isByteLockedByOthers, lockByteShared, unlockByte } from '../../sys/index.ts';

const USES_BASE = 100;
const FORBIDS_BASE = 200;

/** QEMU's permissions, those that concern an image's data. */
const Permission = { CONSISTENT_READ: 0, WRITE: 1, RESIZE: 3 } as const;

/** What nobody else may do while a disk is served, for reading too. */
const FORBIDDEN: readonly number[] = [Permission.WRITE, Permission.RESIZE];

/**
 * Lock an image. The locks end when the descriptor (and its duplicates) are closed.
 *
 * @returns `undefined`, or what another process does that is in the way: then no lock is held.
 * @throws SystemError where the file system has no locks (ENOLCK, EOPNOTSUPP).
 */
export function lockImage(fd: number, readOnly: boolean): string | undefined {
  const uses = permissionsUsed(readOnly);
  // First claim, then look: of two that do this at once, at least one sees the other.
  const conflict =
    claim(fd, lockedBytes(readOnly)) ??
    uses
      .filter((permission) => isByteLockedByOthers(fd, FORBIDS_BASE + permission))
      .map((permission) =>
        permission === Permission.WRITE
          ? 'another process forbids writing to it'
          : 'another process uses it exclusively',
      )[0] ??
    FORBIDDEN.filter((permission) => isByteLockedByOthers(fd, USES_BASE + permission)).map(
      () => 'another process has it open for writing',
    )[0];
  if (conflict !== undefined) unlockImage(fd, readOnly);
  return conflict;
}

/**
 * Hold the locks of `lockImage` too, for an image that somebody has locked on this opening's behalf:
 * nobody else gets it before both are closed.
 */
export function joinImageLock(fd: number, readOnly: boolean): void {
  claim(fd, lockedBytes(readOnly));
}

/** Let the locks of `lockImage` go, and keep the image open. */
export function unlockImage(fd: number, readOnly: boolean): void {
  for (const byte of lockedBytes(readOnly)) unlockByte(fd, byte);
}

function permissionsUsed(readOnly: boolean): number[] {
  return readOnly ? [Permission.CONSISTENT_READ] : [Permission.CONSISTENT_READ, Permission.WRITE];
}

function lockedBytes(readOnly: boolean): number[] {
  return [
    ...permissionsUsed(readOnly).map((permission) => USES_BASE + permission),
    ...FORBIDDEN.map((permission) => FORBIDS_BASE + permission),
  ];
}

function claim(fd: number, bytes: readonly number[]): string | undefined {
  for (const byte of bytes) {
    if (!lockByteShared(fd, byte)) return 'another process has locked it';
  }
  return undefined;
}
