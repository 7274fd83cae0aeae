/**
 * An overlay's blocks, written to the disk that it is over: that one is then what the guest has seen,
 * and the overlay is empty.
 */
import { type Closable, useAndClose } from '../../../sys/index.ts';
import type { DiskAccess } from '../../access/disk-access.ts';
import { openAccess } from '../../access/open-access.ts';
import { StorageError } from '../../errors.ts';
import { checkPlan } from '../../plan/check-plan.ts';
import type { DiskPlan, OpenOptions } from '../../plan/disk-kind.ts';
import { openDisk } from '../../plan/open-disk.ts';
import { forEachAtOnce } from '../../settle-all.ts';
import { type Run, runsOf } from '../blocks/block-runs.ts';
import { BlockState } from '../side-file/block-map.ts';
import { openSideDisk } from '../side-file/side-disk.ts';
import { type CopyOnWriteParameters, copyOnWriteKind, OVERLAY_KIND } from './copy-on-write.ts';
import { Overlay, OverlayState } from './overlay.ts';

/** Copied at a time, and how many of these at once. */
const PIECE_BYTES = 2 ** 20;
const AT_ONCE = 8;

/** How far a commit is. */
export type CommitProgress = (doneBytes: number, totalBytes: number) => void;

export interface CommitOptions extends Omit<OpenOptions, 'readOnly'> {
  readonly onProgress?: CommitProgress;
}

/**
 * Write the overlay of a plan (`copyOnWrite(file('base.img'), { overlay: 'changes.cow' })`) to its
 * disk below, which nobody else may use meanwhile. If it is interrupted, the plan is the same disk as
 * before, and the commit can be done again; the disk below alone is of no use until then.
 *
 * @returns bytes written.
 * @throws StorageError; and what reading and writing fail with.
 */
export async function commitOverlay(plan: DiskPlan, options: CommitOptions = {}): Promise<number> {
  checkPlan(plan);
  const { overlay: path } = plan.parameters as CopyOnWriteParameters;
  if (plan.kind !== copyOnWriteKind || path === undefined) {
    const expected = `${OVERLAY_KIND}(..., overlay=<path>)`;
    throw new StorageError('DISK_OPTION', `${plan.kind.name}: expected ${expected} to commit`);
  }
  const { onProgress = () => {}, ...open } = options;
  const opened: Closable[] = [];
  return useAndClose(opened, async () => {
    // First the overlay: if there is none, the disk below need not be touched.
    const side = openSideDisk(path, undefined, open);
    opened.push(side);
    const below = await openDisk(plan.below[0], open);
    // One that was open before stays open.
    if (below !== plan.below[0]) opened.push(below);
    // Before the overlay says that it is being committed: it would say so for good.
    if (below.info.readOnly) {
      const problem = `the disk below cannot be written (${below.kind})`;
      throw new StorageError('DISK_OPTION', `${OVERLAY_KIND}: ${problem}: nothing was committed`);
    }
    const [sideAccess, base] = [openAccess(side), openAccess(below)];
    opened.unshift(sideAccess, base);
    const overlay = await Overlay.open(sideAccess, base, undefined, path);
    return commitTo(base, overlay, onProgress);
  });
}

/** The parts of it that take a crash: each step is safe before the next one begins. */
export async function commitTo(
  base: DiskAccess,
  overlay: Overlay,
  onProgress: CommitProgress,
): Promise<number> {
  const { map, side, blockBytes, diskBytes, dataOffset } = overlay;
  await overlay.flush();
  await overlay.setState(OverlayState.COMMITTING, base);
  const runs = runsOf(0, diskBytes, blockBytes, (block) => map.get(block)).filter(
    ({ kind }) => kind !== BlockState.ABSENT,
  );
  const totalBytes = runs.reduce((sum, { length }) => sum + length, 0);
  let doneBytes = 0;
  await forEachAtOnce(piecesOf(runs), AT_ONCE, async (piece) => {
    await copy(base, overlay, piece);
    doneBytes += piece.length;
    onProgress(doneBytes, totalBytes);
  });
  await base.flush();
  // The base is another one by now: blocks that leave the overlay are those of it.
  await overlay.setState(OverlayState.COMMITTING, base);
  map.set(0, map.blocks, BlockState.ABSENT);
  await overlay.flush();
  await overlay.setState(OverlayState.IN_USE, base);
  for (const { offset, length } of runs) await side.discard(dataOffset + offset, length);
  return totalBytes;
}

function* piecesOf(runs: readonly Run<number>[]): Generator<Run<number>> {
  for (const { offset, length, kind } of runs) {
    for (let at = 0; at < length; at += PIECE_BYTES) {
      yield { offset: offset + at, length: Math.min(PIECE_BYTES, length - at), kind };
    }
  }
}

async function copy(
  base: DiskAccess,
  { side, dataOffset }: Overlay,
  run: Run<number>,
): Promise<void> {
  const { offset, length, kind } = run;
  if (kind === BlockState.ZERO) return base.writeZeroes(offset, length, { mayUnmap: true });
  const buffer = new Uint8Array(length);
  await side.read(buffer, dataOffset + offset);
  await base.write(buffer, offset);
}
