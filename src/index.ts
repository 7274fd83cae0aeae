/**
 * vhostkit: userspace virtio block storage. The pieces most programs need; each layer has an entry
 * of its own (`vhostkit/sys`, `vhostkit/storage`, ...).
 */
export {
  adoptSocket,
  ExportError,
  listenAt,
  type VhostUserBlkOptions,
  VhostUserBlkServer,
} from './exports/index.ts';
export { type Disk, type DiskSpecification, openDisk, StorageError } from './storage/index.ts';
export { type Logger, silentLogger } from './sys/index.ts';
