/**
 * What the main thread and a queue worker say to each other: plain data through a MessagePort. The
 * worker sleeps in its reactor, so the main thread rings a bell (an eventfd) after every message.
 */
import type { DiskHandle } from '../../storage/index.ts';
import type { EngineChoice, MappingHandle } from '../../sys/index.ts';
import type { HaltMode, RingSetup } from '../../vhost-user/index.ts';
import type { SharedRegion } from './queue-host.ts';

/** What queues are served with. */
export interface QueueServing {
  /** Buffers of `DeviceState` and of the counters. */
  readonly state: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly serial: string;
}

/** What a worker is started with. */
export interface QueueWorkerData extends QueueServing {
  readonly disk: DiskHandle;
  readonly engine: EngineChoice;
  /** Longest time to poll before sleeping, in microseconds. */
  readonly maxPollUs: number;
  /** The bell. */
  readonly wakeFd: number;
  /** Of a `ThreadLedger`, to be kept. */
  readonly ledger: SharedArrayBuffer;
  /** A Landlock ruleset for the worker to restrict itself by, once it has read its own modules. */
  readonly landlockRuleset?: number | undefined;
}

/** Serve queues from now on: for workers that had a disk to open first. */
export interface BeginCommand extends QueueServing {
  readonly kind: 'begin';
}

/** From the main thread. Every command but the last is answered, in any order. */
export type QueueCommand = { readonly id: number } & (
  | BeginCommand
  /** Say the disk's size: for workers that have it open. */
  | { readonly kind: 'look' }
  | { readonly kind: 'set-memory'; readonly regions: readonly SharedRegion[] }
  | { readonly kind: 'set-log'; readonly log: MappingHandle | undefined }
  | { readonly kind: 'run'; readonly setup: RingSetup }
  | { readonly kind: 'rewire'; readonly setup: RingSetup }
  | { readonly kind: 'halt'; readonly index: number; readonly mode: HaltMode }
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
  /** The kernel has refused what a command takes: a `SystemError`'s parts. */
  | {
      readonly kind: 'refused';
      readonly id: number;
      readonly syscall: string;
      readonly errno: number;
    }
  | { readonly kind: 'broken'; readonly index: number; readonly reason: string };
