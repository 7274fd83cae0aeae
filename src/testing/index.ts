/** For tests of back-ends: a front-end and a driver without a virtual machine. */
export {
  BlockDriver,
  type BlockRequest,
  type BlockResult,
  STATUS_UNTOUCHED,
} from './block-driver.ts';
export {
  DriverConnection,
  type DriverConnectionOptions,
  type DriverQueue,
} from './driver-connection.ts';
export { type GuestBuffer, GuestRam, type RamRegion, type RamRegionPlan } from './guest-ram.ts';
