/**
 * The second connection of a session, on which the back-end speaks first (SET_BACKEND_REQ_FD).
 */
import type { Fd, Logger, Reactor } from '../sys/index.ts';
import { Channel } from './channel.ts';
import { BackendMessages } from './messages.ts';

/** See the module's comment. */
export class BackendChannel {
  readonly #channel: Channel;

  /** Takes the socket over. */
  constructor(reactor: Reactor, socket: Fd, logger: Logger) {
    this.#channel = new Channel(reactor, socket, {
      // No acknowledgements are asked for; what comes nevertheless is of no use.
      wantsNoFds: true,
      onFrame: async () => {},
      onClosed: (reason) => {
        logger.debug(`the back-end channel has ended${reason ? `: ${reason.message}` : ''}`);
      },
    });
  }

  /** The configuration space has changed: the front-end shall read it again. */
  sendConfigChange(): void {
    const { id, request } = BackendMessages.CONFIG_CHANGE_MSG;
    this.#channel.send(id, 0, request.encode(null));
  }

  close(): void {
    this.#channel.close();
  }
}
