/**
 * The driver's side of a virtqueue, of either format.
 *
 * A chain is made by `begin`, `add` for each piece, `commit`; `publish` shows all committed ones to
 * the device. The head that `commit` returns names the chain until `takeUsed` gives it back. The
 * ring is private to one thread; the device is not trusted: an impossible used entry is an error
 * that `takeUsed` reports, and nothing that the driver has written is read back.
 */

/** `takeUsed` found nothing, or an entry that the device cannot have meant. */
export const NO_USED = -1;
export const BAD_USED = -2;

/** Memory for indirect tables: one table for each descriptor. */
export interface IndirectTables {
  readonly view: DataView;
  /** Address of the view's first byte, as the device knows it. */
  readonly address: number;
  readonly entriesPerTable: number;
}

export interface DriverRingOptions {
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** Given when VIRTIO_F_INDIRECT_DESC was negotiated and is to be used. */
  readonly indirect?: IndirectTables;
}

/** See the module's comment. */
export interface DriverRing {
  readonly size: number;
  /** Bytes that the device wrote to the chain last taken by `takeUsed`. */
  readonly usedLength: number;
  /** Descriptors not in use. */
  readonly freeCount: number;
  /** Chains committed and not yet taken back. */
  readonly inFlight: number;
  /** Start a chain of `pieces` pieces. False if there is no room for it now. */
  begin(pieces: number): boolean;
  /** Add a piece: readable ones first. The address is the guest's, in halves. */
  add(addressLow: number, addressHigh: number, length: number, isWritable: boolean): void;
  /** End the chain. Returns its head: a number below `size`. */
  commit(): number;
  /**
   * Show the device all committed chains; not while one is being made. True if it wants a kick for
   * them.
   */
  publish(): boolean;
  /** How many used entries wait to be taken; more than `inFlight` if the device misbehaves. */
  usedCount(): number;
  /** Take the next used entry: its head, `NO_USED` or `BAD_USED`. Sets `usedLength`. */
  takeUsed(): number;
  /** The driver looks by itself: calls are a waste. */
  suppressCalls(): void;
  /**
   * Ask for a call once `after` more entries are used, or earlier. False: do not wait for it.
   *
   * @param after - at least 1; more only with EVENT_IDX.
   */
  requestCalls(after?: number): boolean;
}
