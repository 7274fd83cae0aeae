/**
 * The connections to one server, as long as all of them last. With several of them, each flush is
 * for what was written on any. When one is lost all are given up: whether the server behind the
 * others is the one that has what was written is not known.
 */
import { type ConnectionSettings, HANDSHAKE_TIMEOUT_MS, NbdConnection } from './nbd-connection.ts';
import type { NbdExport } from './nbd-export.ts';
import { NbdProtocolError } from './nbd-protocol.ts';
import type { NbdRequest } from './nbd-request.ts';

/**
 * How long more connections may take: this, or some times what the first has taken. A server that
 * is at its limit does not say so, it just does not accept them.
 */
const MORE_TIMEOUT_MS = 500;
const MORE_FACTOR = 5;

/** See the module's comment. */
export class NbdSession {
  readonly export: NbdExport;
  /** It is over; these requests have got no reply. Called once, unless it was closed. */
  onLost: (reason: Error, requests: NbdRequest[]) => void = () => {};
  readonly #connections: readonly NbdConnection[];

  private constructor(connections: readonly NbdConnection[]) {
    this.#connections = connections;
    this.export = connections[0].export;
    for (const connection of connections) {
      connection.onLost = (reason) => this.#lose(reason);
    }
  }

  /**
   * Connect. Rejects with what is in the way.
   *
   * @param wanted - connections; there is one if the server does not say that it can have several.
   * @param signal - gives it up.
   */
  static async open(
    settings: ConnectionSettings,
    wanted: number,
    signal?: AbortSignal,
  ): Promise<NbdSession> {
    const startMs = performance.now();
    const connections = [await NbdConnection.open(settings, HANDSHAKE_TIMEOUT_MS, signal)];
    const firstMs = performance.now() - startMs;
    if (!connections[0].export.canMultiConn || wanted === 1) return new NbdSession(connections);
    const patienceMs = Math.max(MORE_TIMEOUT_MS, firstMs * MORE_FACTOR);
    const limitMs = Math.min(patienceMs, HANDSHAKE_TIMEOUT_MS);
    const others = await Promise.allSettled(
      Array.from({ length: wanted - 1 }, () => NbdConnection.open(settings, limitMs, signal)),
    );
    for (const other of others) {
      // One too many for the server: it does with those that it takes.
      if (other.status === 'fulfilled') connections.push(other.value);
    }
    const lost = connections.find(({ lostBecause }) => lostBecause !== undefined);
    const problem = lost?.lostBecause ?? differenceOf(connections);
    if (problem === undefined) return new NbdSession(connections);
    for (const connection of connections) connection.abandon(problem);
    throw problem;
  }

  get connectionCount(): number {
    return this.#connections.length;
  }

  send(request: NbdRequest): void {
    let [best] = this.#connections;
    for (const connection of this.#connections) {
      if (connection.load < best.load) best = connection;
    }
    best.send(request);
  }

  #lose(reason: Error): void {
    const requests = this.#connections.flatMap((connection) => connection.abandon(reason));
    this.onLost(reason, requests);
  }

  /** No request is under way. */
  async close(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }
}

function differenceOf(connections: readonly NbdConnection[]): Error | undefined {
  const [first] = connections;
  const isSame = connections.every(
    (connection) => JSON.stringify(connection.export) === JSON.stringify(first.export),
  );
  if (isSame) return undefined;
  return new NbdProtocolError('the server says different things of the export to its connections');
}
