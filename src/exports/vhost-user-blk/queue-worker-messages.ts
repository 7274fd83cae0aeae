/**
 * What the main thread and a queue worker say to each other: plain data through a MessagePort. The
 * worker sleeps in its reactor, so the main thread rings a bell (an eventfd) after every message.
 */
import type { DiskHandle } from '../../storage/index.ts';
import type { EngineChoice, MappingHandle } from '../../sys/index.ts';
import type { RingSetup } from '../../vhost-user/index.ts';
import type { SharedRegion } from './queue-host.ts';

/** What a worker is started with. */
export interface QueueWorkerData {
  readonly disk: DiskHandle;
  /** Buffers of `DeviceState` and of the counters. */
  readonly state: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly serial: string;
  readonly engine: EngineChoice;
  /** Longest time to poll before sleeping, in microseconds. */
  readonly maxPollUs: number;
  /** The bell. */
  readonly wakeFd: number;
  /** A Landlock ruleset for the worker to restrict itself by, once it has read its own modules. */
  readonly landlockRuleset?: number | undefined;
}

/** From the main thread. Every command but the last is answered, in any order. */
export type QueueCommand = { readonly id: number } & (
  | { readonly kind: 'set-memory'; readonly regions: readonly SharedRegion[] }
  | { readonly kind: 'set-log'; readonly log: MappingHandle | undefined }
  | { readonly kind: 'run'; readonly setup: RingSetup }
  | { readonly kind: 'rewire'; readonly setup: RingSetup }
  | { readonly kind: 'halt'; readonly index: number }
  | { readonly kind: 'close' }
  /** Leave at once; not answered. */
  | { readonly kind: 'leave' }
);

/** From the worker. */
export type QueueWorkerMessage =
  | {
      readonly kind: 'ready';
      readonly engine: string;
      readonly because: string;
      /** Why Landlock does not restrict the worker, if it was to. */
      readonly landlockRefusal: string | undefined;
    }
  | { readonly kind: 'done'; readonly id: number; readonly base: number }
  | { readonly kind: 'broken'; readonly index: number; readonly reason: string };
