/** The virtio block device: configuration space, requests, and the queue that serves them. */
export { BlockQueue, type BlockQueueOptions, NO_FD } from './block-queue.ts';
export { BlockRequests } from './block-requests.ts';
export { CONFIG_BYTES, ConfigOffset, ConfigSpace } from './config-space.ts';
export {
  BlockFeature,
  HEADER_BYTES,
  ID_BYTES,
  Limit,
  RANGE_BYTES,
  RANGE_UNMAP,
  RequestType,
  SECTOR_BYTES,
  Status,
} from './constants.ts';
export {
  COUNTER_NAMES,
  type CounterName,
  type CounterValues,
  counterRow,
  createCounters,
  readCounters,
} from './counters.ts';
export { DeviceState, Writeback } from './device-state.ts';
export { featureSet, hasFeature, offeredFeatures } from './features.ts';
export { QueueLog, type QueueLogOptions } from './queue-log.ts';
export type { RequestRules } from './request-parser.ts';
