/** What cases are carried out against, and what is counted meanwhile. */
import type { Reactor } from '../src/sys/index.ts';
import type { Action } from './action.ts';

/** What cases have done so far. */
export interface AttackCounts {
  actions: number;
  messages: number;
  requests: number;
  kicks: number;
  connects: number;
  /** Writes to memory behind the device's back. */
  mutations: number;
}

export function noCounts(): AttackCounts {
  return { actions: 0, messages: 0, requests: 0, kicks: 0, connects: 0, mutations: 0 };
}

/** What a case is carried out against. */
export interface AttackPlace {
  readonly reactor: Reactor;
  readonly socketPath: string;
  /** The server's process, where it is one of ours. */
  readonly pid?: number | undefined;
  readonly counts: AttackCounts;
}

/** What carries out actions, by their verbs. */
export type ActionTable = Readonly<Record<string, (action: Action) => Promise<void> | void>>;

/** Upper bound of an action's repetitions, so that no case takes long. */
export const MAX_COUNT = 100_000;
