/**
 * What is done with disks besides using them: containers and images are made, overlays written back,
 * snapshots taken, checksums and traces gone through. An entry of its own, since servers do without.
 */

export type { CacheStatistics } from './filters/cache/cache-statistics.ts';
export { cacheStatistics } from './filters/cache/open-cache.ts';
export type { ChecksumStatistics } from './filters/checksum/checksum-object.ts';
export {
  checksumStatistics,
  type ScanFinding,
  scanChecksums,
} from './filters/checksum/scan-checksums.ts';
export { type CommitOptions, commitOverlay } from './filters/copy-on-write/commit-overlay.ts';
export { type ReplayOptions, type ReplayReport, replayTrace } from './filters/log/replay-trace.ts';
export {
  dropSnapshot,
  listSnapshots,
  openSnapshot,
  rollBack,
  type SnapshotSummary,
  takeSnapshot,
} from './filters/snapshot/snapshots.ts';
export { type FormatLuksOptions, formatLuks } from './luks/format-luks.ts';
export { type CreateQcow2Options, createQcow2 } from './qcow2/create-qcow2.ts';
