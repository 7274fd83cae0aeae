/** What a disk worker and the thread that started it say besides the commands for queues. */
import type { DiskInfo, OpenOptions, StorageErrorCode } from '../../storage/index.ts';
import type { EngineChoice, Logger } from '../../sys/index.ts';

/** What the worker is started with. */
export interface DiskWorkerData {
  /** The disk, as people write it. */
  readonly disk: string;
  readonly options: Omit<OpenOptions, 'logger'>;
  readonly engine: EngineChoice;
  /** See `QueueWorkerData`. */
  readonly wakeFd: number;
  readonly ledger: SharedArrayBuffer;
}

/** A disk as another thread may know it. */
export interface DiskFacts {
  readonly kind: string;
  readonly description: string;
  readonly info: DiskInfo;
  readonly needsOutside: string | undefined;
  readonly below: readonly DiskFacts[];
}

/** From the worker. */
export type DiskWorkerMessage =
  | { readonly kind: 'opened'; readonly disk: DiskFacts }
  | {
      readonly kind: 'refused-disk';
      readonly code: StorageErrorCode;
      readonly message: string;
    }
  | { readonly kind: 'resized'; readonly sizeBytes: number }
  | { readonly kind: 'log'; readonly level: keyof Logger; readonly message: string };
