/** Exports: disks made reachable for virtual machines. */
export { ExportError, type ExportErrorCode } from './errors.ts';
export { adoptSocket, listenAt, type ServerSocket } from './listening-socket.ts';
export {
  VHOST_USER_BLK_DEFAULTS,
  type VhostUserBlkOptions,
  VhostUserBlkServer,
} from './vhost-user-blk/server.ts';
