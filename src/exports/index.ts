/** Exports: disks made reachable for virtual machines. */
export { createControlReactor } from './control-reactor.ts';
export { ExportError, type ExportErrorCode } from './errors.ts';
export { type Arrival, adoptSocket, listenAt, type ServerSocket } from './listening-socket.ts';
export { passConnection, receivingSocket } from './passed-connection.ts';
export { ReplacingSocket } from './replacing-socket.ts';
export { type ServedDisk, type ServeOptions, serve } from './serve.ts';
export {
  VHOST_USER_BLK_DEFAULTS,
  type VhostUserBlkOptions,
  VhostUserBlkServer,
} from './vhost-user-blk/server.ts';
