/** A disk that is checked: where it is, what is known of its kind, how it is opened. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Disk,
  type DiskInfo,
  type DiskLike,
  type OpenOptions,
  openAccess,
  openDisk,
} from '../../src/storage/index.ts';
import { type DiscardMeaning, DiskModel } from './disk-model.ts';
import { ModelledAccess } from './modelled-access.ts';
import { patternBytes } from './request-bytes.ts';

const LOWER_BYTES: number = 2 ** 20;

/** What is special about a kind of disk; all that is left out is as with most of them. */
export interface ConformanceTraits {
  /** What is written is there when the disk is opened again in the same place. Default: false. */
  readonly isPersistent?: boolean;
  /** Default: true; else nothing is known of what reads give. */
  readonly keepsData?: boolean;
  /** Default: false. */
  readonly readOnly?: boolean;
  /** It is not opened by a plan or an object, but open already: options do not apply. */
  readonly isOpen?: boolean;
  /** What reads give of what was discarded; default: anything. */
  readonly discard?: DiscardMeaning;
  /** What a new disk holds at an offset; default: nobody knows. */
  readonly content?: (offset: number, bytes: number) => Uint8Array;
  /** What it has to say of itself. */
  readonly info?: Partial<DiskInfo>;
  /** Requests that touch the same bytes are done in the order of their arrival. Default: false. */
  readonly ordersRequests?: boolean;
  /** Filters: it shows what the disk below has, at the same offsets. Default: false. */
  readonly showsLower?: boolean;
  /** Filters: size of the disk below; default: 1 MiB. */
  readonly lowerBytes?: number;
  /** Filters: blocks of the disk below in memory; default: 512. */
  readonly lowerBlockBytes?: number;
  /**
   * Filters: whether the failure of a request below fails one above (`reach`, the default), or may
   * do so later or not at all.
   */
  readonly faults?: 'reach' | 'may-be-hidden';
  /** Filters: what is stable is all in the disk below. Default: true. */
  readonly survivesPowerLoss?: boolean;
}

/** Zeros, for `content`. */
export function zeros(_offset: number, bytes: number): Uint8Array {
  return new Uint8Array(bytes);
}

/** See `DiskFactory`. */
export class ConformancePlace {
  /** For files: empty at first, gone in the end. */
  readonly folder: string;
  /** A disk has been opened here before. */
  isUsed = false;

  constructor(folder: string) {
    this.folder = folder;
  }
}

/** A new place, and what to do with it in the end. */
export function temporaryPlace(): ConformancePlace & Disposable {
  const place = new ConformancePlace(mkdtempSync(join(tmpdir(), 'conformance-')));
  const remove = (): void => rmSync(place.folder, { recursive: true, force: true });
  return Object.assign(place, { [Symbol.dispose]: remove });
}

/** One disk to check. */
export interface DiskUnderTest {
  readonly place: ConformancePlace;
  readonly traits: ConformanceTraits;
  readonly make: () => Promise<DiskLike>;
}

/** A check of disks. */
export interface DiskCheck {
  readonly name: string;
  readonly isFor?: (traits: ConformanceTraits) => boolean;
  run(disk: DiskUnderTest): Promise<void>;
}

/** Open the disk, for the first time or again. */
export async function openIt(disk: DiskUnderTest, options: OpenOptions = {}): Promise<Disk> {
  const like = await disk.make();
  const opened = await openDisk(like, options);
  disk.place.isUsed = true;
  return opened;
}

/** The model of a disk that is new. */
export function modelOf(disk: Pick<Disk, 'info'>, traits: ConformanceTraits): DiskModel {
  const { sizeBytes, logicalBlockBytes } = disk.info;
  const model = new DiskModel(sizeBytes, logicalBlockBytes, traits.discard ?? 'anything');
  const content = traits.content ?? (traits.showsLower === true ? lowerContent : undefined);
  if (content === undefined) return model;
  for (const { at, bytes } of model.parts) {
    model.done('write', at, bytes, content(model.offsetOf(at), bytes));
  }
  return model;
}

/** Open the disk, and have it used next to a model of it; it is closed when `body` has ended. */
export async function withAccess(
  disk: DiskUnderTest,
  body: (modelled: ModelledAccess, open: Disk) => Promise<void>,
  known?: DiskModel,
): Promise<void> {
  const open = await openIt(disk);
  const access = openAccess(open);
  const model = known ?? modelOf(open, disk.traits);
  await body(new ModelledAccess(access, model, disk.traits.keepsData ?? true), open);
  access.close();
  await open.close();
}

/** The file of the disk below, made if it is not there. */
export function lowerImage(place: ConformancePlace, traits: ConformanceTraits): string {
  const path = join(place.folder, 'lower');
  const bytes = traits.lowerBytes ?? LOWER_BYTES;
  if (!place.isUsed) writeFileSync(path, lowerBytes(bytes, traits));
  return path;
}

/** What the disk below holds at first. */
export function lowerBytes(bytes: number, { showsLower }: ConformanceTraits): Buffer {
  return Buffer.from(showsLower === true ? lowerContent(0, bytes) : new Uint8Array(bytes));
}

let pattern: Uint8Array | undefined;

function lowerContent(offset: number, bytes: number): Uint8Array {
  if (pattern === undefined || pattern.length < offset + bytes) {
    pattern = patternBytes(Math.max(LOWER_BYTES, offset + bytes), 77);
  }
  return pattern.subarray(offset, offset + bytes);
}
