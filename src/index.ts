/**
 * vhostkit: userspace virtio block storage. The pieces most programs need; each layer has an entry
 * of its own (`vhostkit/sys`, `vhostkit/storage`, ...).
 */
export {
  adoptSocket,
  ExportError,
  listenAt,
  type ServedDisk,
  type ServeOptions,
  serve,
  type VhostUserBlkOptions,
  VhostUserBlkServer,
} from './exports/index.ts';
export {
  cache,
  checksum,
  concat,
  copyOnWrite,
  type Disk,
  type DiskAccess,
  type DiskLike,
  type DiskObject,
  delay,
  encrypt,
  error,
  file,
  http,
  log,
  memory,
  nbd,
  nullDisk,
  type ObjectRequest,
  openDisk,
  parseDisk,
  pattern,
  qcow2,
  readonly,
  StorageError,
  snapshot,
  split,
  stats,
  statsOf,
  throttle,
} from './storage/index.ts';
export {
  commitOverlay,
  createQcow2,
  dropSnapshot,
  type FormatLuksOptions,
  formatLuks,
  listSnapshots,
  openSnapshot,
  replayTrace,
  rollBack,
  type SnapshotSummary,
  takeSnapshot,
} from './storage/tools.ts';
export { type Logger, silentLogger } from './sys/index.ts';
