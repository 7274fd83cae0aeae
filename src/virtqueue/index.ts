/** Virtqueues: rings in shared memory and the descriptor chains on them. */
export {
  CHAIN_FAULT_TEXT,
  ChainFault,
  DescriptorChain,
  MAX_CHAIN_SEGMENTS,
} from './descriptor-chain.ts';
export {
  BAD_USED,
  DriverRing,
  type DriverRingOptions,
  type IndirectTables,
  NO_USED,
} from './driver-ring.ts';
export { InflightLog, inflightLogBytes } from './inflight-log.ts';
export {
  AVAIL_NO_INTERRUPT,
  DESCRIPTOR_BYTES,
  DescriptorFlag,
  isValidRingSize,
  MAX_RING_SIZE,
  needsEvent,
  RingAlignment,
  RingFeature,
  ringBytes,
  USED_NO_NOTIFY,
} from './layout.ts';
export { SplitRing, type SplitRingMemory } from './split-ring.ts';
