/**
 * Unix stream sockets that carry file descriptors (unix(7), SCM_RIGHTS).
 *
 * SAFETY: messages pass through one scratch page per thread, which is free again when the call
 * returns: nothing here is reentrant, and no system call outlives its function. Every received
 * descriptor is an `Fd` before anything else can fail; a message whose descriptors did not all fit
 * is refused after closing those that did. All sockets are non-blocking and close-on-exec.
 */
import { strict as assert } from 'node:assert';
import { fstatSync, unlinkSync } from 'node:fs';
import { At, Epoll, Open, Socket } from './constants.ts';
import { call, Errno, SystemError } from './errors.ts';
import { closeAll, Fd } from './fd.ts';
import { openFile } from './file.ts';
import { lastErrno, libc } from './libc.ts';
import { Mapping } from './mapping.ts';
import { pollDescriptor } from './poll.ts';

/** Most descriptors accepted with one message: the protocol needs 8, rust-vmm allows 32. */
export const MAX_MESSAGE_FDS = 32;
/** Most bytes of one `receive` or `send`. */
export const MAX_TRANSFER_BYTES = 16384;
/** struct sockaddr_un, and how much of it sockets without an address have: the family. */
const SOCKET_ADDRESS_BYTES = 110;
const UNNAMED_BYTES = 2;
/** Longest socket path in bytes: sun_path holds 108 with the final NUL. */
export const MAX_SOCKET_PATH_BYTES = 107;

const SOCKET_FLAGS = Socket.STREAM | Socket.NONBLOCK | Socket.CLOEXEC;

// Scratch layout: msghdr (56 bytes) | iovec (16) | control (cmsghdr 16 + fds) | data.
const IOVEC_AT = 64;
const CONTROL_AT = 128;
const CMSG_HEADER_BYTES = 16;
const CONTROL_BYTES = CMSG_HEADER_BYTES + MAX_MESSAGE_FDS * 4;
const DATA_AT = 4096;
const scratch = Mapping.anonymous(DATA_AT + MAX_TRANSFER_BYTES);
const header = new DataView(scratch.view(0, DATA_AT));
const data = new Uint8Array(scratch.view(DATA_AT, MAX_TRANSFER_BYTES));

/** What one `receive` brought. */
export interface Received {
  /** Bytes read; 0 when the peer has closed the connection. */
  readonly bytes: number;
  /** Descriptors that came with them, owned by the caller. */
  readonly fds: Fd[];
}

function prepareMessage(sizeBytes: number, controlBytes: number): void {
  const base = BigInt(scratch.address);
  header.setBigUint64(0, 0n, true); // msg_name
  header.setUint32(8, 0, true);
  header.setBigUint64(16, base + BigInt(IOVEC_AT), true);
  header.setBigUint64(24, 1n, true);
  header.setBigUint64(32, controlBytes === 0 ? 0n : base + BigInt(CONTROL_AT), true);
  header.setBigUint64(40, BigInt(controlBytes), true);
  header.setUint32(48, 0, true); // msg_flags
  header.setBigUint64(IOVEC_AT, base + BigInt(DATA_AT), true);
  header.setBigUint64(IOVEC_AT + 8, BigInt(sizeBytes), true);
}

function takeDescriptors(): Fd[] {
  const fds: Fd[] = [];
  const end = CONTROL_AT + Number(header.getBigUint64(40, true));
  for (let at = CONTROL_AT; at + CMSG_HEADER_BYTES <= end; ) {
    const length = Number(header.getBigUint64(at, true));
    if (length < CMSG_HEADER_BYTES) break;
    const level = header.getInt32(at + 8, true);
    const type = header.getInt32(at + 12, true);
    if (level === Socket.SOL_SOCKET && type === Socket.SCM_RIGHTS) {
      for (let fdAt = at + CMSG_HEADER_BYTES; fdAt + 4 <= at + length; fdAt += 4) {
        fds.push(new Fd(header.getInt32(fdAt, true), 'received descriptor'));
      }
    }
    at += Math.ceil(length / 8) * 8;
  }
  return fds;
}

/**
 * Read at most `target.length` bytes and the descriptors sent with them.
 *
 * @returns `undefined` if nothing has arrived yet.
 * @throws SystemError for a broken connection (ECONNRESET), and with EMSGSIZE when the peer sent
 * more descriptors than `MAX_MESSAGE_FDS` (or than this process may still open).
 */
export function receiveMessage(socket: number, target: Uint8Array): Received | undefined {
  const wanted = Math.min(target.length, MAX_TRANSFER_BYTES);
  prepareMessage(wanted, CONTROL_BYTES);
  for (;;) {
    const bytes = libc.recvmsg(
      socket,
      scratch.address,
      Socket.MSG_DONTWAIT | Socket.MSG_CMSG_CLOEXEC,
    );
    if (bytes === -1) {
      const errno = lastErrno();
      if (errno === Errno.EAGAIN) return undefined;
      if (errno === Errno.EINTR) continue;
      throw new SystemError('recvmsg', errno);
    }
    const fds = takeDescriptors();
    if ((header.getUint32(48, true) & Socket.MSG_CTRUNC) !== 0) {
      closeAll(fds);
      throw new SystemError('recvmsg', Errno.EMSGSIZE, 'with more descriptors than allowed');
    }
    target.set(data.subarray(0, bytes));
    return { bytes, fds };
  }
}

/**
 * Send bytes, and descriptors with the first of them. The descriptors stay the caller's.
 *
 * @returns how many bytes the socket took; 0 when it is full (then no descriptor was sent).
 * @throws SystemError for a broken connection (EPIPE, ECONNRESET).
 */
export function sendMessage(socket: number, bytes: Uint8Array, fds: readonly Fd[] = []): number {
  assert(bytes.length > 0 && bytes.length <= MAX_TRANSFER_BYTES, `message of ${bytes.length}`);
  assert(fds.length <= MAX_MESSAGE_FDS, `${fds.length} descriptors in one message`);
  data.set(bytes);
  const controlBytes = fds.length === 0 ? 0 : CMSG_HEADER_BYTES + Math.ceil(fds.length / 2) * 8;
  prepareMessage(bytes.length, controlBytes);
  if (fds.length > 0) {
    header.setBigUint64(CONTROL_AT, BigInt(CMSG_HEADER_BYTES + fds.length * 4), true);
    header.setInt32(CONTROL_AT + 8, Socket.SOL_SOCKET, true);
    header.setInt32(CONTROL_AT + 12, Socket.SCM_RIGHTS, true);
    fds.forEach((fd, index) => {
      header.setInt32(CONTROL_AT + CMSG_HEADER_BYTES + index * 4, fd.number, true);
    });
  }
  for (;;) {
    const flags = Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL;
    const sent = libc.sendmsg(socket, scratch.address, flags);
    if (sent >= 0) return sent;
    const errno = lastErrno();
    if (errno === Errno.EAGAIN) return 0;
    if (errno !== Errno.EINTR) throw new SystemError('sendmsg', errno);
  }
}

/** Two sockets connected to each other. */
export function createSocketPair(): [Fd, Fd] {
  const pair = new Int32Array(2);
  call('socketpair', Socket.AF_UNIX, SOCKET_FLAGS, 0, pair);
  return [new Fd(pair[0], 'socketpair'), new Fd(pair[1], 'socketpair')];
}

function socketAddress(path: string): Uint8Array {
  const encoded = new TextEncoder().encode(path);
  if (encoded.length > MAX_SOCKET_PATH_BYTES) {
    throw new SystemError('bind', Errno.ENAMETOOLONG, path);
  }
  const address = new Uint8Array(2 + MAX_SOCKET_PATH_BYTES + 1);
  address[0] = Socket.AF_UNIX;
  address.set(encoded, 2);
  return address;
}

/** Who may connect to a socket at a path: the kernel asks for the permission to write. */
export interface SocketAccess {
  /** Permission bits, whatever the process's umask says. Default: 0777 less that. */
  readonly mode?: number;
  /** Its owner's and its group's number, where they are to change. */
  readonly user?: number | undefined;
  readonly group?: number | undefined;
}

/** As a number of a user or group: leave it as it is. */
const UNCHANGED = 2 ** 32 - 1;
const PERMISSION_BITS = 0o777;

/** Bind with permissions from the first moment on. A socket has all until the umask is applied. */
function bindWithMode(fd: number, path: string, mode: number | undefined): void {
  const address = socketAddress(path);
  const oldMask = mode === undefined ? undefined : libc.umask(PERMISSION_BITS & ~mode);
  const result = libc.bind(fd, address, address.length);
  const errno = lastErrno();
  if (oldMask !== undefined) libc.umask(oldMask);
  if (result === -1) throw new SystemError('bind', errno, path);
}

/** Change the owner of what is at `path`, if it is the socket: never what a link there leads to. */
function changeOwner(path: string, { user, group }: SocketAccess): void {
  if (user === undefined && group === undefined) return;
  using place = openFile(path, Open.PATH | Open.NOFOLLOW);
  if (!fstatSync(place.number).isSocket()) throw new SystemError('chown', Errno.EEXIST, path);
  const [uid, gid] = [user ?? UNCHANGED, group ?? UNCHANGED];
  if (libc.fchownat(place.number, '', uid, gid, At.EMPTY_PATH) === 0) return;
  throw new SystemError('chown', lastErrno(), path);
}

/**
 * A socket that listens at `path`, which must not exist. Nobody can connect before it has the
 * owner and the permissions asked for.
 *
 * @param backlog - connections that may wait to be accepted.
 */
export function listenUnix(path: string, backlog: number, access: SocketAccess = {}): Fd {
  const fd = new Fd(call('socket', Socket.AF_UNIX, SOCKET_FLAGS, 0), path);
  let isBound = false;
  try {
    bindWithMode(fd.number, path, access.mode);
    isBound = true;
    changeOwner(path, access);
    call('listen', fd.number, backlog);
    return fd;
  } catch (error) {
    fd.close();
    if (isBound) unlinkSync(path);
    throw error;
  }
}

/** A socket connected to the listener at `path`. Throws ECONNREFUSED, ENOENT, EAGAIN (busy). */
export function connectUnix(path: string): Fd {
  const address = socketAddress(path);
  const fd = new Fd(call('socket', Socket.AF_UNIX, SOCKET_FLAGS, 0), path);
  if (libc.connect(fd.number, address, address.length) === 0) return fd;
  const errno = lastErrno();
  fd.close();
  throw new SystemError('connect', errno, path);
}

/** Accept a waiting connection, or `undefined` if there is none (any more). */
export function acceptUnix(listener: number): Fd | undefined {
  for (;;) {
    const flags = Socket.NONBLOCK | Socket.CLOEXEC;
    const fd = libc.accept4(listener, null, null, flags);
    if (fd >= 0) return new Fd(fd, 'connection');
    const errno = lastErrno();
    if (errno === Errno.EAGAIN) return undefined;
    if (errno === Errno.EINTR || errno === Errno.ECONNABORTED) continue;
    throw new SystemError('accept4', errno);
  }
}

/** Whether a descriptor is a listening stream socket, a connected one, or neither. */
export function socketKind(fd: number): 'listening' | 'stream' | 'other' {
  const value = new Int32Array(1);
  const length = new Uint32Array([4]);
  const option = (name: number): number | undefined =>
    libc.getsockopt(fd, Socket.SOL_SOCKET, name, value, length) === 0 ? value[0] : undefined;
  if (option(Socket.SO_TYPE) !== Socket.STREAM) return 'other';
  return option(Socket.SO_ACCEPTCONN) === 1 ? 'listening' : 'stream';
}

/** The address of a socket or of its peer; `undefined` for what is no socket, or has none. */
function addressOf(name: 'getsockname' | 'getpeername', fd: number): Uint8Array | undefined {
  const address = new Uint8Array(SOCKET_ADDRESS_BYTES);
  const length = new Uint32Array([address.length]);
  if (libc[name](fd, address, length) !== 0 || length[0] <= UNNAMED_BYTES) return undefined;
  return address.subarray(0, length[0]);
}

/**
 * Whether a descriptor is connected to where another socket is bound: it may be that one's peer.
 * Of sockets without an address, such as pairs, nobody can tell.
 */
export function isConnectedTo(fd: number, socket: number): boolean {
  const peer = addressOf('getpeername', fd);
  const own = peer && addressOf('getsockname', socket);
  return peer !== undefined && own !== undefined && Buffer.compare(peer, own) === 0;
}

/** Whether the peer of a connected socket has closed its end. Leaves what waits to be read. */
export function isHungUp(fd: number): boolean {
  return pollDescriptor(fd, Epoll.RDHUP, 0);
}

/** Make a socket that was opened elsewhere non-blocking, as those made here are. */
export function setNonBlocking(fd: number): void {
  call('ioctl', fd, Socket.FIONBIO, Int32Array.of(1));
}
