/** A port that takes no more connections: whoever connects waits, and hears nothing. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

/** Before it a connection to this machine is there. */
const CONNECT_MS = 500;
const MAX_CONNECTIONS = 16;

/** See the module's comment. */
export class DeafListener implements AsyncDisposable {
  readonly port: number;
  readonly #worker: Worker;
  readonly #sockets: readonly Socket[];

  private constructor(port: number, worker: Worker, sockets: readonly Socket[]) {
    this.port = port;
    this.#worker = worker;
    this.#sockets = sockets;
  }

  static async start(): Promise<DeafListener> {
    const worker = new Worker(fileURLToPath(import.meta.url));
    const [port] = (await once(worker, 'message')) as [number];
    const sockets: Socket[] = [];
    for (;;) {
      if (sockets.length > MAX_CONNECTIONS) throw new Error('the listener goes on accepting');
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      sockets.push(socket);
      const connected = once(socket, 'connect').then(() => true);
      if (!(await Promise.race([connected, sleep(CONNECT_MS, false)]))) break;
    }
    return new DeafListener(port, worker, sockets);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await this.#worker.terminate();
  }
}

if (!isMainThread) {
  const server: Server = createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    parentPort?.postMessage((server.address() as { port: number }).port);
    // Nobody accepts: the kernel does, until its queue is full.
    setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
  });
}
