/**
 * A disk that can lose its power: it keeps the order of all that was asked of the kernel and when
 * it was done, and says what may be left at any moment.
 *
 * What is left: a write that was done before a sync was started that was done, too, is there, and
 * so is one that was to be stable and is done. Of all others each part may be there or not: a
 * sector, or a block where a disk promises not to tear those.
 */
import { bytesOf, type FileObserver, type FileOperation } from './watched-file.ts';

const SECTOR_BYTES = 512;

/** A generator of numbers from 0 up to 1. */
export type Random = () => number;

/** The same numbers for the same seed (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Change {
  readonly offset: number;
  readonly data: Buffer;
  readonly isStable: boolean;
  readonly startedAt: number;
  endedAt: number;
}

interface Sync {
  readonly startedAt: number;
  endedAt: number;
}

/** See the module's comment. */
export class PowerLossRecorder implements FileObserver {
  /** Moments are counted: one for each start and end, and for what a test wants to be told apart. */
  #now = 0;
  readonly #content: Buffer;
  readonly #changes: Change[] = [];
  readonly #syncs: Sync[] = [];
  readonly #open = new Map<FileOperation, Change | Sync>();

  /** @param content - what the disk holds, stable. */
  constructor(content: Uint8Array) {
    this.#content = Buffer.from(content);
  }

  /** A moment of its own. */
  moment(): number {
    this.#now += 1;
    return this.#now;
  }

  get now(): number {
    return this.#now;
  }

  /** How much has been recorded. */
  get counts(): { readonly changes: number; readonly syncs: number } {
    return { changes: this.#changes.length, syncs: this.#syncs.length };
  }

  onStart(operation: FileOperation): undefined {
    const startedAt = this.moment();
    const endedAt = Number.POSITIVE_INFINITY;
    const { kind, offset, bytes, isStable } = operation;
    if (kind === 'sync') {
      const sync: Sync = { startedAt, endedAt };
      this.#syncs.push(sync);
      this.#open.set(operation, sync);
    } else if (kind !== 'read') {
      const data = kind === 'write' ? bytesOf(operation.pieces) : Buffer.alloc(bytes);
      const change: Change = { offset, data, isStable, startedAt, endedAt };
      this.#changes.push(change);
      this.#open.set(operation, change);
    }
    return undefined;
  }

  onEnd(operation: FileOperation, result: number): void {
    const entry = this.#open.get(operation);
    const now = this.moment();
    if (entry === undefined) return;
    this.#open.delete(operation);
    // What failed or was short is never known to be there.
    const isWhole = operation.kind === 'write' ? result === operation.bytes : result === 0;
    if (isWhole) entry.endedAt = now;
  }

  /**
   * What the disk may hold if the power goes at a moment.
   *
   * @param partBytes - what is not torn: a power of two, at least a sector.
   */
  imageAt(moment: number, random: Random, partBytes: number = SECTOR_BYTES): Buffer {
    const image = Buffer.from(this.#content);
    // The latest start of a sync that is done: what had ended by then is stable.
    const syncedAt = this.#syncs
      .filter(({ endedAt }) => endedAt <= moment)
      .reduce((latest, { startedAt }) => Math.max(latest, startedAt), 0);
    for (const change of this.#changes) {
      if (change.startedAt > moment) continue;
      const isDone = change.endedAt <= moment;
      const isThere = isDone && (change.isStable || change.endedAt < syncedAt);
      apply(image, change, isThere ? 1 : chance(random), { random, partBytes });
    }
    return image;
  }
}

/** How much of a write that is not stable is there: often all or nothing. */
function chance(random: Random): number {
  const kind = random();
  if (kind < 0.4) return 0;
  return kind < 0.7 ? 1 : random();
}

interface Tearing {
  readonly random: Random;
  readonly partBytes: number;
}

function apply(
  image: Buffer,
  { offset, data }: Change,
  share: number,
  { random, partBytes }: Tearing,
): void {
  for (let at = 0; at < data.length; ) {
    const end = Math.min(data.length, at + partBytes - ((offset + at) % partBytes));
    if (share === 1 || random() < share) data.copy(image, offset + at, at, end);
    at = end;
  }
}
