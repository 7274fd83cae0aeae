/**
 * Linux from TypeScript: descriptors, mapped memory, sockets that carry descriptors, io_uring,
 * epoll, and the reactor built on them. The only unsafe code of vhostkit.
 */

export { bufferAddress } from './buffer-address.ts';
export { abandonAll, type Closable, takeAll, useAndClose } from './closing.ts';
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
export { duplicateFd, setCloseOnExec } from './fcntl.ts';
export { closeAll, Fd } from './fd.ts';
export { openAgain, openFile, readAt, resizeFile, writeAt } from './file.ts';
export {
  type FileIo,
  type FileIoHandler,
  joinHalves,
  PENDING,
  SyncFileIo,
  type Writer,
} from './file-io.ts';
export {
  type BlockDeviceGeometry,
  blockDeviceGeometry,
  type DirectIoAlignment,
  directIoAlignment,
  discardRange,
  isMemoryBacked,
  isReadOnlyDevice,
} from './file-probe.ts';
export { FileRemoval } from './file-removal.ts';
export { type CompletionSink, IoUring, type IoUringOptions } from './io-uring/io-uring.ts';
export { IovecTable, SEGMENTS_PER_SLOT } from './iovec-table.ts';
export { lendView, takeBack } from './lent-view.ts';
export { type Logger, prefixedLogger, silentLogger } from './logger.ts';
export { MAX_VIEW_BYTES, Mapping, type MappingHandle } from './mapping.ts';
export { createMemfd, sealSize } from './memfd.ts';
export { copyMemory } from './memory-copy.ts';
export { type Clock, monotonicClock, readClock } from './monotonic-clock.ts';
export { NativeCipher } from './native-cipher.ts';
export {
  isByteLockedByOthers,
  lockByteExclusively,
  lockByteShared,
  unlockByte,
} from './ofd-lock.ts';
export { dieWithParent } from './parent-death.ts';
export { listenerAt, type PeerProcess } from './peer-process.ts';
export { unsupportedPlatform } from './platform.ts';
export { RationedLogger } from './rationed-logger.ts';
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
export type { Alarm, Timer } from './reactor/timers.ts';
export { isSameFile } from './same-file.ts';
export { SharedMutex } from './shared-mutex.ts';
export { type DataRange, dataRanges } from './sparse-file.ts';
export { ThreadLedger } from './thread-ledger.ts';
export {
  acceptUnix,
  connectUnix,
  createSocketPair,
  isConnectedTo,
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
