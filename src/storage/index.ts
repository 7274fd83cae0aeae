/** Disks: what they are, and those that come with vhostkit. */
export type { AccessOptions, DiskAccess } from './access/disk-access.ts';
export { openAccess } from './access/open-access.ts';
export { adoptDisk } from './adopt-disk.ts';
export type {
  Disk,
  DiskChannel,
  DiskClaim,
  DiskHandle,
  DiskInfo,
  DiskRequestHandler,
} from './disk.ts';
export { DiskFlag, DiskOperation, DiskRequests } from './disk-requests.ts';
export { concat } from './disks/concat.ts';
export { file } from './disks/file.ts';
export { type HttpParameters, http } from './disks/http.ts';
export { MemoryDisk, type MemoryParameters, memory } from './disks/memory-disk.ts';
export { type NbdParameters, nbd } from './disks/nbd.ts';
export { NullDisk, nullDisk } from './disks/null-disk.ts';
export { PatternDisk, type PatternDiskHandle, pattern } from './disks/pattern-disk.ts';
export { split } from './disks/split.ts';
export { StorageError, type StorageErrorCode } from './errors.ts';
export { FileDisk, type FileDiskHandle } from './file/file-disk.ts';
export { ImageTurns, newTurnByte, type Succession } from './file/image-turns.ts';
export {
  CACHE_MODES,
  type CacheMode,
  type OptionSpelling,
  openFileDisk,
} from './file/open-file-disk.ts';
export { cache } from './filters/cache/cache.ts';
export { checksum } from './filters/checksum/checksum.ts';
export { copyOnWrite } from './filters/copy-on-write/copy-on-write.ts';
export { type DelayParameters, delay } from './filters/delay.ts';
export { type ErrorParameters, error } from './filters/error/error.ts';
export { log } from './filters/log/log.ts';
export { ReadonlyDisk, readonly } from './filters/readonly.ts';
export { type SnapshotParameters, snapshot } from './filters/snapshot/snapshot.ts';
export {
  LatencyHistogram,
  type LatencyRange,
} from './filters/stats/latency-histogram.ts';
export type {
  OperationStatistics,
  Statistics,
  StatisticsOperation,
} from './filters/stats/statistics.ts';
export { StatsDisk, stats, statsOf } from './filters/stats/stats.ts';
export { throttle } from './filters/throttle/throttle.ts';
export type { ThrottleParameters } from './filters/throttle/throttle-limits.ts';
export { type EncryptParameters, encrypt } from './luks/encrypt.ts';
export type { DiskObject, ObjectRequest } from './object/disk-object.ts';
export { type DiskMaker, type ModuleParameters, moduleDisk } from './object/object-module.ts';
export { type DiskLike, DiskPlan, type OpenOptions } from './plan/disk-kind.ts';
export { explainDisk } from './plan/explain.ts';
export { DISK_KINDS, parseDisk } from './plan/known-kinds.ts';
export { openDisk } from './plan/open-disk.ts';
export { rawImageWarning } from './plan/raw-image-warning.ts';
export { type Qcow2Parameters, qcow2 } from './qcow2/qcow2.ts';
export type { TableMode } from './qcow2/table-mode.ts';
