/**
 * The unix socket a server listens on: made at a path, which is cleaned up in the end, or handed
 * over as a descriptor.
 */
import { lstatSync, readFileSync, type Stats, unlinkSync } from 'node:fs';
import {
  acceptUnix,
  connectUnix,
  errnoMessage,
  Fd,
  FileRemoval,
  isSameFile,
  listenUnix,
  MAX_SOCKET_PATH_BYTES,
  type SocketAccess,
  SystemError,
  setCloseOnExec,
  setNonBlocking,
  socketKind,
} from '../sys/index.ts';
import { ExportError } from './errors.ts';

/** Clients that may wait while one is served. */
const BACKLOG = 16;
/** Flag of a listening socket in /proc/net/unix (__SO_ACCEPTCON). */
const PROC_LISTENING = '00010000';

/** A client that has come. */
export interface Arrival {
  readonly connection: Fd;
  /** What logs call it, where somebody else counts. */
  readonly number?: number;
}

/** A socket that is ready to use. */
export interface ServerSocket {
  readonly fd: Fd;
  /**
   * `listening`: clients are accepted from it; `stream`: it is a client's connection; `passing`:
   * the connection of the only client comes over it.
   */
  readonly kind: 'listening' | 'stream' | 'passing';
  /**
   * The next client, `undefined` if none waits, or `over` if none will ever come. Throws a
   * `SystemError` if it cannot be had now.
   */
  next(): Arrival | undefined | 'over';
  /** How `close` removes the path: a process that confines itself leaves this way open. */
  readonly removal?: FileRemoval | undefined;
  /** Close it, and remove its path if that still names it. Once more changes nothing. */
  close(): void;
}

/** Unless asked otherwise only the own user may connect. */
const OWNER_ONLY = 0o600;

/** Listen at a path. What a dead server has left there is replaced. Throws an `ExportError`. */
export function listenAt(path: string, access: SocketAccess = {}): ServerSocket {
  checkLength(path);
  removeStale(path);
  return listenThere(path, path, access);
}

/**
 * Listen at a path beside that of a socket whose place is to be taken later, by renaming. Throws an
 * `ExportError`.
 *
 * @returns a socket that removes `path` when it is closed, if that names it by then.
 */
export function listenBeside(path: string, beside: string, access: SocketAccess): ServerSocket {
  checkLength(path);
  checkLength(beside);
  return listenThere(beside, path, access);
}

function listenThere(path: string, laterPath: string, access: SocketAccess): ServerSocket {
  // Before there is anything to remove: it may fail.
  const removal = new FileRemoval(laterPath);
  let fd: Fd;
  try {
    fd = listenUnix(path, BACKLOG, { mode: OWNER_ONLY, ...access });
  } catch (error) {
    throw socketFailed(path, error);
  }
  const own = lstatSync(path);
  return {
    fd,
    kind: 'listening',
    removal,
    next: () => accepted(fd),
    close: () => {
      if (!fd.isOpen) return;
      fd.close();
      const current = statIfThere(laterPath);
      if (current !== undefined && isSameFile(current, own)) removal.remove();
    },
  };
}

function checkLength(path: string): void {
  const length = Buffer.byteLength(path);
  if (length <= MAX_SOCKET_PATH_BYTES) return;
  const text = `socket path of ${length} bytes, at most ${MAX_SOCKET_PATH_BYTES} fit: ${path}`;
  throw new ExportError('SOCKET_PATH_TOO_LONG', text);
}

/** Use a socket that was opened by whoever started us. Throws an `ExportError`. */
export function adoptSocket(number: number): ServerSocket {
  const kind = socketKind(number);
  if (kind === 'other') {
    const text = `descriptor ${number} is no listening or connected unix stream socket`;
    throw new ExportError('SOCKET_BAD_FD', text);
  }
  setNonBlocking(number);
  // Who started us had to leave it open for us; it is for nobody else.
  setCloseOnExec(number);
  const fd = new Fd(number, `socket ${number}`);
  const next = kind === 'stream' ? () => itself(fd) : () => accepted(fd);
  return { fd, kind, next, close: () => fd[Symbol.dispose]() };
}

function accepted(listener: Fd): Arrival | undefined {
  const connection = acceptUnix(listener.number);
  return connection && { connection };
}

/** A socket that is a connection is its own first client, and there is no second. */
function itself(fd: Fd): Arrival | 'over' {
  return fd.isOpen ? { connection: new Fd(fd.release(), 'connection') } : 'over';
}

function removeStale(path: string): void {
  const stats = statIfThere(path);
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new ExportError('SOCKET_IN_USE', `${path} exists and is no socket: it is left alone`);
  }
  if (isListening(path)) {
    throw new ExportError('SOCKET_IN_USE', `${path} is in use: another server listens on it`);
  }
  try {
    unlinkSync(path);
  } catch (error) {
    throw socketFailed(path, error);
  }
}

function statIfThere(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw socketFailed(path, error);
  }
}

/** Asks the kernel's list first: connecting would cost some servers their one client. */
function isListening(path: string): boolean {
  if (
    procListing().some((line) => line.includes(` ${PROC_LISTENING} `) && line.endsWith(` ${path}`))
  ) {
    return true;
  }
  try {
    connectUnix(path).close();
    return true;
  } catch (error) {
    // Full backlog (EAGAIN): alive, too.
    return error instanceof SystemError && error.code === 'EAGAIN';
  }
}

function procListing(): string[] {
  try {
    return readFileSync('/proc/net/unix', 'utf8').split('\n');
  } catch {
    return [];
  }
}

function socketFailed(path: string, error: unknown): ExportError {
  const errno = Math.abs((error as NodeJS.ErrnoException).errno ?? 0);
  const reason = errno === 0 ? String(error) : errnoMessage(errno);
  const isOwner = error instanceof SystemError && error.syscall === 'chown';
  const text = `cannot ${isOwner ? 'change the owner of' : 'listen at'} ${path}: ${reason}`;
  return new ExportError('SOCKET_FAILED', text, { cause: error });
}
