/** The client library: block devices of this machine and of vhost-user back-ends, with one API. */
export { adoptAsyncQueue, adoptQueue } from './adopt-queue.ts';
export {
  AsyncQueue,
  type RequestOptions,
  type WriteOptions,
  type WriteZeroesOptions,
} from './async-queue.ts';
export { Blkio, type BlkioEvents } from './blkio.ts';
export { CompletionList } from './completion-list.ts';
export { Device, openDevice, type PropertyValues } from './device.ts';
export { driverNames } from './driver-names.ts';
export { BlkioError, type BlkioErrorCode } from './errors.ts';
export { MemoryRegion, type MemoryRegionHandle } from './memory-region.ts';
export type {
  DeviceState,
  PropertyInfo,
  PropertyType,
  PropertyTypes,
  PropertyValue,
} from './property-table.ts';
export { Queue } from './queue.ts';
export type { QueueOptions } from './queue-source.ts';
export { DeviceReadStream, type ReadStreamOptions } from './read-stream.ts';
export { RequestFlag } from './request-flag.ts';
export { type RunCompletion, type RunRequest, runRequests } from './request-run.ts';
export type { QueueHandle } from './shared-queue.ts';
export { DeviceWriteStream, type WriteStreamOptions } from './write-stream.ts';
