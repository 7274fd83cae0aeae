/**
 * Connections that one process hands to another over a pair of sockets (`--isolate`): the sender
 * accepts clients and serves none, the receiver serves one and accepts none.
 */
import { closeAll, type Fd, receiveMessage, sendMessage } from '../sys/index.ts';
import type { Arrival, ServerSocket } from './listening-socket.ts';

/** A message is the client's number, as 32 bits. */
const MESSAGE_BYTES = 4;

/**
 * Hand over a connection, which stays the caller's to close.
 *
 * @param number - what logs call the client.
 * @throws SystemError if the other process has gone.
 */
export function passConnection(socket: Fd, connection: Fd, number: number): void {
  sendMessage(socket.number, new Uint8Array(Uint32Array.of(number).buffer), [connection]);
}

/**
 * The receiver's end, to give to a server. It is over when the sender has gone.
 *
 * @param onArrival - called before the client is served.
 */
export function receivingSocket(fd: Fd, onArrival: () => void): ServerSocket {
  return {
    fd,
    kind: 'passing',
    next: () => {
      const message = new Uint8Array(MESSAGE_BYTES);
      const received = receiveMessage(fd.number, message);
      if (received === undefined) return undefined;
      const [connection, ...surplus] = received.fds;
      closeAll(surplus);
      if (connection === undefined) return 'over';
      onArrival();
      const [number] = new Uint32Array(message.buffer);
      return { connection, number } satisfies Arrival;
    },
    close: () => fd[Symbol.dispose](),
  };
}
