/**
 * Linux from TypeScript: descriptors, mapped memory, sockets that carry descriptors, io_uring,
 * epoll, and the reactor built on them. The only unsafe code of vhostkit.
 */

export { bufferAddress } from './buffer-address.ts';
export { CodedError } from './coded-error.ts';
export {
  allowBeneath,
  createLandlockRuleset,
  LandlockAccess,
  landlockAbi,
  landlockHasThreadSync,
  restrictByLandlock,
} from './confinement/landlock.ts';
export { setNoNewPrivileges } from './confinement/no-new-privileges.ts';
export { filterAllThreads, probeSeccomp } from './confinement/seccomp.ts';
export type { Architecture } from './confinement/seccomp-policy.ts';
export { Fallocate, Open, ReadWriteFlag } from './constants.ts';
export { EpollSet } from './epoll-set.ts';
export { Errno, errnoMessage, errnoName, IO_ERROR, SystemError } from './errors.ts';
export {
  awaitEvent,
  createEventFd,
  drainEvent,
  isEventFd,
  isSignalled,
  relieveFullEvent,
  signalEvent,
} from './eventfd.ts';
export { exitNow } from './exit-now.ts';
export { duplicateFd } from './fcntl.ts';
export { closeAll, Fd } from './fd.ts';
export { openFile, readAt, writeAt } from './file.ts';
export { type FileIo, type FileIoHandler, PENDING, SyncFileIo, type Writer } from './file-io.ts';
export {
  type BlockDeviceGeometry,
  blockDeviceGeometry,
  type DirectIoAlignment,
  directIoAlignment,
  discardRange,
  isMemoryBacked,
} from './file-probe.ts';
export { FileRemoval } from './file-removal.ts';
export { type CompletionSink, IoUring, type IoUringOptions } from './io-uring/io-uring.ts';
export { IovecTable, SEGMENTS_PER_SLOT } from './iovec-table.ts';
export { type Logger, prefixedLogger, silentLogger } from './logger.ts';
export { MAX_VIEW_BYTES, Mapping, type MappingHandle } from './mapping.ts';
export { createMemfd, sealSize } from './memfd.ts';
export { isByteLockedByOthers, lockByteShared, unlockByte } from './ofd-lock.ts';
export { unsupportedPlatform } from './platform.ts';
export { AttachedHome } from './reactor/attached-home.ts';
export { BlockingHome } from './reactor/blocking-home.ts';
export {
  type CreatedReactor,
  createReactor,
  ENGINE_CHOICES,
  type EngineChoice,
  engineFromEnvironment,
  type HomeKind,
} from './reactor/create-reactor.ts';
export type { CompletionEvent, EngineName, ReadinessHandler, Watch } from './reactor/engine.ts';
export { type PollSource, Reactor } from './reactor/reactor.ts';
export type { Timer } from './reactor/timers.ts';
export { SharedMutex } from './shared-mutex.ts';
export { nextData, nextHole } from './sparse-file.ts';
export {
  acceptUnix,
  connectUnix,
  createSocketPair,
  isHungUp,
  listenUnix,
  MAX_MESSAGE_FDS,
  MAX_SOCKET_PATH_BYTES,
  type Received,
  receiveMessage,
  type SocketAccess,
  sendMessage,
  setNonBlocking,
  socketKind,
} from './unix-socket.ts';
export { groupNumber, userNumber } from './user-database.ts';
