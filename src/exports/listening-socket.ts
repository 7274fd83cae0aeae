/**
 * The unix socket a server listens on: made at a path, which is cleaned up in the end, or handed
 * over as a descriptor.
 */
import { lstatSync, readFileSync, type Stats, unlinkSync } from 'node:fs';
import {
  connectUnix,
  errnoMessage,
  Fd,
  FileRemoval,
  listenUnix,
  MAX_SOCKET_PATH_BYTES,
  type SocketAccess,
  SystemError,
  setNonBlocking,
  socketKind,
} from '../sys/index.ts';
import { ExportError } from './errors.ts';

/** Clients that may wait while one is served. */
const BACKLOG = 16;
/** Flag of a listening socket in /proc/net/unix (__SO_ACCEPTCON). */
const PROC_LISTENING = '00010000';

/** A socket that is ready to use. */
export interface ServerSocket {
  readonly fd: Fd;
  /** `listening`: clients are accepted from it; `stream`: it is a client's connection. */
  readonly kind: 'listening' | 'stream';
  /** How `close` removes the path: a process that confines itself leaves this way open. */
  readonly removal?: FileRemoval;
  /** Close it, and remove its path if that still names it. */
  close(): void;
}

/** Unless asked otherwise only the own user may connect. */
const OWNER_ONLY = 0o600;

/** Listen at a path. What a dead server has left there is replaced. Throws an `ExportError`. */
export function listenAt(path: string, access: SocketAccess = {}): ServerSocket {
  const length = Buffer.byteLength(path);
  if (length > MAX_SOCKET_PATH_BYTES) {
    const text = `socket path of ${length} bytes, at most ${MAX_SOCKET_PATH_BYTES} fit: ${path}`;
    throw new ExportError('SOCKET_PATH_TOO_LONG', text);
  }
  removeStale(path);
  let fd: Fd;
  try {
    fd = listenUnix(path, BACKLOG, { mode: OWNER_ONLY, ...access });
  } catch (error) {
    throw socketFailed(path, error);
  }
  const own = lstatSync(path);
  const removal = new FileRemoval(path);
  return {
    fd,
    kind: 'listening',
    removal,
    close: () => {
      fd.close();
      const current = statIfThere(path);
      if (current?.ino === own.ino && current.dev === own.dev) removal.remove();
    },
  };
}

/** Use a socket that was opened by whoever started us. Throws an `ExportError`. */
export function adoptSocket(number: number): ServerSocket {
  const kind = socketKind(number);
  if (kind === 'other') {
    const text = `descriptor ${number} is no listening or connected unix stream socket`;
    throw new ExportError('SOCKET_BAD_FD', text);
  }
  setNonBlocking(number);
  const fd = new Fd(number, `socket ${number}`);
  return { fd, kind, close: () => fd[Symbol.dispose]() };
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
