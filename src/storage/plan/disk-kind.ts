/**
 * A kind of disk: its name, its parameters, and how one is opened. What people write
 * (`throttle(file(disk.img), iops-total=500)`) and what code says (`throttle(file('disk.img'),
 * { iopsTotal: 500 })`) both become a `DiskPlan` of kinds.
 */
import type { Logger } from '../../sys/index.ts';
import type { Disk } from '../disk.ts';
import type { Succession } from '../file/image-turns.ts';
import type { CacheMode, ImageLocking } from '../file/open-file-disk.ts';
import type { DiskObject } from '../object/disk-object.ts';
import type { ParameterType } from './parameter-types.ts';

/** A parameter of a kind. */
export interface ParameterSpec<Value> {
  readonly type: ParameterType<Value>;
  /** What it is for, in a few words, for the reference. */
  readonly summary: string;
  readonly isRequired?: boolean;
}

/** The parameters of a kind. */
export type ParameterSpecs<Parameters> = {
  readonly [Name in keyof Parameters]-?: ParameterSpec<NonNullable<Parameters[Name]>>;
};

/** The specification of a parameter; `undefined`: the kind has none of that name. */
export function parameterSpec(kind: DiskKind, name: string): ParameterSpec<unknown> | undefined {
  const { parameters } = kind;
  if (parameters === 'any' || !Object.hasOwn(parameters, name)) return undefined;
  return (parameters as Record<string, ParameterSpec<unknown>>)[name];
}

/** The names of a kind's parameters as people write them. */
export function parameterNames(kind: DiskKind): string {
  return Object.keys(kind.parameters).map(writtenName).join(', ') || 'none';
}

/** How to open a plan's disks. */
export interface OpenOptions {
  /** The guest may read only: nothing is opened to be written. */
  readonly readOnly?: boolean;
  /** For files. */
  readonly cache?: CacheMode;
  readonly locking?: ImageLocking;
  readonly succession?: Succession;
  /** For files and null disks: logical block, a power of two from 512 to 65536. */
  readonly blockBytes?: number;
  readonly logger?: Logger;
}

/** What a kind opens a disk with. */
export interface OpenContext<Parameters> {
  readonly parameters: Parameters;
  readonly options: OpenOptions;
  /** How many disks are below. */
  readonly belowCount: number;
  /**
   * Open one of the disks below. It is closed if opening fails after that, else it is the new
   * disk's to close. (One that was open already is lent: to close it changes nothing.)
   */
  openBelow(index: number, overrides?: OpenOptions): Promise<Disk>;
}

/** See the module's comment. */
// biome-ignore lint/suspicious/noExplicitAny: a plan holds kinds of all parameters
export interface DiskKind<Parameters = any> {
  /** As people write it: lower case, words joined by `-`. */
  readonly name: string;
  /** What it is, in a few words, for the reference. */
  readonly summary: string;
  /** Disks that it is made of. */
  readonly below: 'none' | 'one' | 'some' | 'any';
  /** The parameter that may be written without its name. */
  readonly primary?: keyof Parameters & string;
  /** By name as code has it; `iopsTotal` is written `iops-total`. `any`: whatever is given. */
  readonly parameters: ParameterSpecs<Parameters> | 'any';
  /** Rejects, or throws, with a `StorageError`. */
  open(context: OpenContext<Parameters>): Disk | Promise<Disk>;
}

/** A disk that is yet to be opened. */
export class DiskPlan {
  readonly kind: DiskKind;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly below: readonly DiskLike[];

  constructor(kind: DiskKind, parameters: object, below: readonly DiskLike[] = []) {
    this.kind = kind;
    this.parameters = parameters as Readonly<Record<string, unknown>>;
    this.below = below;
  }
}

/** Whatever stands for a disk: a plan of one, an object that is one, an open one, which stays open. */
export type DiskLike = DiskPlan | DiskObject | Disk;

/** `iopsTotal` as people write it: `iops-total`. */
export function writtenName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
