/** Virtqueues: rings in shared memory, split and packed, and the descriptor chains on them. */
export { createDeviceRing, createDriverRing } from './create-ring.ts';
export {
  CHAIN_FAULT_TEXT,
  ChainFault,
  DescriptorChain,
  MAX_CHAIN_SEGMENTS,
} from './descriptor-chain.ts';
export type { DeviceRing } from './device-ring.ts';
export {
  BAD_USED,
  type DriverRing,
  type DriverRingOptions,
  type IndirectTables,
  NO_USED,
} from './driver-ring.ts';
export { type InflightMemory, inflightLogBytes } from './inflight-memory.ts';
export {
  AVAIL_NO_INTERRUPT,
  DESCRIPTOR_BYTES,
  DescriptorFlag,
  MAX_RING_SIZE,
  needsEvent,
  RING_IDX,
  RingFeature,
  USED_NO_NOTIFY,
} from './layout.ts';
export { PackedDriverRing } from './packed-driver-ring.ts';
export { PackedInflightLog, prepareInflightLog } from './packed-inflight-log.ts';
export {
  EventFlag,
  eventAt,
  eventFlags,
  isEventWanted,
  PackedFlag,
  packedBase,
} from './packed-layout.ts';
export { PackedRing } from './packed-ring.ts';
export {
  firstBase,
  isValidBase,
  isValidRingSize,
  RING_ALIGNMENT,
  type RingFormat,
  type RingMemory,
  ringBytes,
  ringFormat,
} from './ring-format.ts';
export { SplitDriverRing } from './split-driver-ring.ts';
export { SplitInflightLog } from './split-inflight-log.ts';
export { SplitRing } from './split-ring.ts';
