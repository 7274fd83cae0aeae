/**
 * A disk in memory, which can grow but not discard, that remembers what was asked of it, to say what
 * it may hold after a crash at any moment: all that was flushed, or written to be stable, and of what
 * came later some.
 */
import type { DiskObject, ObjectRequest } from '../../src/storage/index.ts';
import { ObjectDisk } from '../../src/storage/object/object-disk.ts';
import { Errno, SystemError } from '../../src/sys/index.ts';

const SECTOR_BYTES = 512;

/** What was asked of the disk, in order. */
type Event =
  | {
      readonly kind: 'write';
      readonly offset: number;
      readonly data: Buffer;
      readonly isStable: boolean;
    }
  | { readonly kind: 'grow'; readonly sizeBytes: number }
  | { readonly kind: 'flush' };

/** Random numbers from 0 up to, but not including, 1. */
export type Draw = () => number;

/** A sequence of random numbers, the same for the same seed. */
export function drawsFrom(seed: number): Draw {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Which of the writes that were not flushed have reached the medium. */
export type Survival = 'none' | 'all' | 'some' | 'torn';

/** What matters of a write. */
export type RecordedWrite = Pick<ObjectRequest, 'stable'>;

/** See the module's comment. */
export class RecordedDisk implements DiskObject {
  sizeBytes: number;
  /** What is written so is there, whatever becomes of what was written before. */
  readonly honoursStable = true;
  readonly #start: Buffer;
  readonly #events: Event[] = [];
  readonly #limitBytes: number;
  #content: Buffer;

  /** @param limitBytes - it cannot become larger than that: ENOSPC. */
  constructor(start: Buffer, limitBytes = Number.POSITIVE_INFINITY) {
    this.#limitBytes = limitBytes;
    this.#start = Buffer.alloc(Math.ceil(start.length / SECTOR_BYTES) * SECTOR_BYTES);
    start.copy(this.#start);
    this.#content = Buffer.from(this.#start);
    this.sizeBytes = this.#start.length;
  }

  /** As a disk that can grow, as one in a file can. */
  asDisk(): GrowingDisk {
    return new GrowingDisk(this);
  }

  /** Events so far: a moment to crash at. */
  get now(): number {
    return this.#events.length;
  }

  read(buffer: Uint8Array, offset: number): void | Promise<void> {
    this.#content.copy(buffer, 0, offset, offset + buffer.length);
  }

  write(buffer: Uint8Array, offset: number, { stable }: RecordedWrite): void | Promise<void> {
    const data = Buffer.from(buffer);
    this.#events.push({ kind: 'write', offset, data, isStable: stable });
    data.copy(this.#content, offset);
  }

  flush(): void | Promise<void> {
    this.#events.push({ kind: 'flush' });
  }

  grow(sizeBytes: number): void {
    if (sizeBytes > this.#limitBytes) throw new SystemError('grow', Errno.ENOSPC);
    this.#events.push({ kind: 'grow', sizeBytes });
    const content = Buffer.alloc(sizeBytes);
    this.#content.copy(content);
    this.#content = content;
    this.sizeBytes = sizeBytes;
  }

  /** What may be on the medium if the power fails just before the event with number `moment`. */
  after(moment: number, survival: Survival, draw: Draw): Buffer {
    const past = this.#events.slice(0, moment);
    const flushed = past.findLastIndex(({ kind }) => kind === 'flush');
    let content = Buffer.from(this.#start);
    past.forEach((event, index) => {
      if (event.kind === 'grow') content = Buffer.concat([content], event.sizeBytes);
      if (event.kind !== 'write') return;
      for (let at = 0; at < event.data.length; ) {
        const bytes = survival === 'torn' ? SECTOR_BYTES : event.data.length;
        const isThere =
          index < flushed ||
          event.isStable ||
          survival === 'all' ||
          (survival !== 'none' && draw() < 0.5);
        if (isThere) event.data.copy(content, event.offset + at, at, at + bytes);
        at += bytes;
      }
    });
    return content;
  }
}

/** See `RecordedDisk.asDisk`. */
class GrowingDisk extends ObjectDisk {
  readonly #object: RecordedDisk;

  constructor(object: RecordedDisk) {
    super(object);
    this.#object = object;
  }

  grow(sizeBytes: number): void {
    this.#object.grow(sizeBytes);
  }
}
