/** Which process is at the other end of a unix socket (unix(7), SO_PEERCRED). */
import { Socket } from './constants.ts';
import { call, Errno, SystemError } from './errors.ts';
import { connectUnix } from './unix-socket.ts';

/** As the kernel knows it. */
export interface PeerProcess {
  /** 0: not visible from this process's PID namespace. */
  readonly pid: number;
  readonly user: number;
}

/**
 * The process that has made the socket at `path` listen, or `undefined` if none listens there. To
 * ask takes a connection, which is closed at once.
 *
 * @throws SystemError: EAGAIN if too many clients wait there; EACCES.
 */
export function listenerAt(path: string): PeerProcess | undefined {
  try {
    using connection = connectUnix(path);
    // struct ucred { pid_t pid; uid_t uid; gid_t gid }.
    const credentials = new Uint32Array(3);
    const length = Uint32Array.of(credentials.byteLength);
    const { SOL_SOCKET, SO_PEERCRED } = Socket;
    call('getsockopt', connection.number, SOL_SOCKET, SO_PEERCRED, credentials, length);
    return { pid: credentials[0], user: credentials[1] };
  } catch (error) {
    const { ENOENT, ECONNREFUSED } = Errno;
    const isNobody = error instanceof SystemError && [ENOENT, ECONNREFUSED].includes(error.errno);
    if (isNobody) return undefined;
    throw error;
  }
}
