/**
 * Memory in which a device writes down which requests of a ring are under way (vhost-user.rst,
 * "Inflight I/O tracking"). It outlives the process: see `SplitInflightLog` and `PackedInflightLog`.
 * The layouts are those of libvhost-user and DPDK.
 */
import type { RingFormat } from './ring-format.ts';

/** The version of both layouts; 0: nothing has been written yet. */
export const INFLIGHT_VERSION = 1;

/** Where both layouts say which version they are, and for how many descriptors: 16-bit words. */
export const LogHeader = { VERSION: 4, DESC_NUM: 5 } as const;

/** Why a log in which these two are written is of no use for a log of `queueSize`, if it is not. */
export function headerFault(
  version: number,
  descNum: number,
  queueSize: number,
): string | undefined {
  if (version !== INFLIGHT_VERSION) return `is of version ${version}`;
  return descNum === queueSize ? undefined : `is for ${descNum} descriptors, not ${queueSize}`;
}

/** Bytes of a log's header, and of what there is for each descriptor. */
export const LogBytes: Readonly<
  Record<RingFormat, { readonly header: number; readonly entry: number }>
> = {
  split: { header: 16, entry: 16 },
  packed: { header: 32, entry: 32 },
};

const STRIDE_ALIGNMENT = 64;

/** The log of one ring: where it is, and for how many descriptors, which is not fewer than the ring's. */
export interface InflightMemory {
  /** Of `inflightLogBytes(queueSize, format)` bytes. */
  readonly memory: ArrayBuffer;
  readonly queueSize: number;
}

/** Bytes of the log of one ring: from one to the next. */
export function inflightLogBytes(queueSize: number, format: RingFormat): number {
  const { header, entry } = LogBytes[format];
  return Math.ceil((header + entry * queueSize) / STRIDE_ALIGNMENT) * STRIDE_ALIGNMENT;
}
