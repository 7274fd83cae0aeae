/** The disk that a command line asks for: plain data, for another process, too. */
import {
  type Disk,
  type DiskPlan,
  file,
  type OpenOptions,
  openDisk,
  parseDisk,
} from '../storage/index.ts';

/** See the module's comment. */
export interface DiskChoice {
  /** An image's path, or a disk as people write it. */
  readonly source:
    | { readonly kind: 'image'; readonly path: string }
    | { readonly kind: 'written'; readonly text: string };
  readonly options: OpenOptions;
}

/** Throws, and rejects, with a `StorageError`. */
export async function openChoice({ source, options }: DiskChoice): Promise<Disk> {
  return openDisk(planOf(source), options);
}

/** The same disk, opened otherwise. */
export function withOptions(choice: DiskChoice, options: OpenOptions): DiskChoice {
  return { ...choice, options: { ...choice.options, ...options } };
}

/** Whether a process that has it open can give it to others that it starts. */
export function canBeInherited(source: DiskChoice['source']): boolean {
  return ['file', 'memory', 'null'].includes(planOf(source).kind.name);
}

/** Whether another process can come by it on its own. */
export function canBeTakenOver(source: DiskChoice['source']): boolean {
  return ['file', 'null'].includes(planOf(source).kind.name);
}

function planOf(source: DiskChoice['source']): DiskPlan {
  return source.kind === 'image' ? file(source.path) : parseDisk(source.text);
}
