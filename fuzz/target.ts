/**
 * What cases are carried out against, and what can be found wrong with it.
 */

/** What can be wrong. */
export type ViolationKind =
  | 'ended'
  | 'alarm'
  | 'not served'
  | 'image'
  | 'descriptors'
  | 'threads'
  | 'mappings'
  | 'memory'
  | 'busy'
  | 'wake-ups';

/** Something that must not be. */
export interface Violation {
  readonly kind: ViolationKind;
  readonly text: string;
}

/** A back-end that cases are carried out against. */
export interface Target extends AsyncDisposable {
  readonly socketPath: string;
  readonly pid: number | undefined;
  /**
   * What is wrong after a case, if anything; then the target is of no use any more.
   *
   * @param cutsMemory - the case has cut off memory: the process that served it may be lost.
   */
  check(patience: Patience, cutsMemory: boolean): Promise<Violation | undefined>;
  /** The same, for what takes longer to see: wake-ups, mappings, memory. */
  inspect(patience: Patience): Promise<Violation | undefined>;
  /** The last it has said. */
  readonly log: readonly string[];
}

/**
 * How long to look before something is said to be wrong. A machine may be busy, and a disk slow: at
 * first there is much time. Once something is known to be wrong, and is looked for again and again,
 * there is less.
 */
export interface Patience {
  /** For a client to be served: it may have to wait for the requests of the one before it. */
  readonly limitMs: number;
  /** For descriptors to be closed when it has gone. */
  readonly closingMs: number;
  /** Looks at whether it works though it has nothing to do: each is taken if the last saw work. */
  readonly busyLooksMs: readonly number[];
  /**
   * Looks at how often it wakes up. V8 goes on collecting for some seconds after much garbage, which
   * on a busy machine takes longer; a timer that was forgotten is there at the last look, too.
   */
  readonly wakeLooksMs: readonly number[];
}

export const PATIENT: Patience = {
  limitMs: 40_000,
  closingMs: 5000,
  busyLooksMs: [10, 100, 500, 1500],
  wakeLooksMs: [400, 1500, 3000, 6000],
};
export const IMPATIENT: Patience = {
  limitMs: 3000,
  closingMs: 300,
  busyLooksMs: [100, 300],
  wakeLooksMs: [500, 1000, 1000],
};
