/**
 * A queue host in a worker thread: commands go over a port, the worker is woken by an eventfd.
 */
import { Worker } from 'node:worker_threads';
import {
  createEventFd,
  type Fd,
  type Logger,
  type MappingHandle,
  relieveFullEvent,
  signalEvent,
} from '../../sys/index.ts';
import type { RingSetup } from '../../vhost-user/index.ts';
import type { BrokenRingHandler, QueueHost, SharedRegion } from './queue-host.ts';
import type { QueueCommand, QueueWorkerData, QueueWorkerMessage } from './queue-worker-messages.ts';

/**
 * Young generation of a worker, in megabytes: the data path leaves a little garbage per request
 * only where numbers above 2^31 go through system calls; a large nursery makes collections rare.
 */
const YOUNG_GENERATION_MB = 32;

/** How long a command may take before the worker is looked after, and how often then. */
const RESCUE_INTERVAL_MS = 200;

/** A ring that runs in the worker. */
interface Run {
  setup: RingSetup;
  readonly onBroken: BrokenRingHandler;
}

export interface RemoteQueueHostOptions extends Omit<QueueWorkerData, 'wakeFd'> {
  readonly logger: Logger;
  /** The worker has died of an internal error. */
  readonly onFailure: (error: Error) => void;
}

type CommandBody = QueueCommand extends infer Command
  ? Command extends QueueCommand
    ? Omit<Command, 'id'>
    : never
  : never;

/**
 * Hosts whose workers run. A process that ends waits for its workers, which sleep in the kernel:
 * without a word to them, an uncaught error anywhere in the program would hang it.
 */
const liveHosts = new Set<RemoteQueueHost>();

function dismissAll(): void {
  for (const host of liveHosts) host.dismiss();
}

/** See the module's comment. */
export class RemoteQueueHost implements QueueHost {
  readonly #worker: Worker;
  readonly #wake: Fd;
  readonly #waiting = new Map<number, (base: number) => void>();
  readonly #runs = new Map<number, Run>();
  #nextId = 0;

  /** Resolves when the worker is ready for commands. Rejects if it cannot start. */
  static async start(options: RemoteQueueHostOptions): Promise<RemoteQueueHost> {
    const wake = createEventFd();
    const { onFailure, logger, ...data } = options;
    const workerData: QueueWorkerData = { ...data, wakeFd: wake.number };
    const worker = new Worker(new URL('./queue-worker.js', import.meta.url), {
      workerData,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    const host = new RemoteQueueHost(worker, wake);
    await new Promise<void>((resolve, reject) => {
      worker.once('error', reject);
      worker.on('message', (message: QueueWorkerMessage) => {
        if (message.kind !== 'ready') return;
        logger.info(`queue worker uses ${message.engine}: ${message.because}`);
        if (message.landlockRefusal !== undefined) {
          logger.warn(`queue worker is not restricted: ${message.landlockRefusal}`);
        }
        worker.off('error', reject);
        resolve();
      });
    });
    worker.once('error', onFailure);
    return host;
  }

  private constructor(worker: Worker, wake: Fd) {
    this.#worker = worker;
    this.#wake = wake;
    if (liveHosts.size === 0) process.on('exit', dismissAll);
    liveHosts.add(this);
    worker.once('exit', () => {
      liveHosts.delete(this);
      if (liveHosts.size === 0) process.off('exit', dismissAll);
    });
    worker.on('message', (message: QueueWorkerMessage) => {
      if (message.kind === 'broken') this.#runs.get(message.index)?.onBroken(message.reason);
      if (message.kind !== 'done') return;
      const resolve = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      resolve?.(message.base);
    });
  }

  async #command(body: CommandBody): Promise<number> {
    const id = this.#nextId;
    this.#nextId += 1;
    const rescue = setInterval(() => this.#freeWorker(), RESCUE_INTERVAL_MS);
    try {
      return await new Promise((resolve) => {
        this.#waiting.set(id, resolve);
        this.#worker.postMessage({ id, ...body });
        signalEvent(this.#wake.number);
      });
    } finally {
      clearInterval(rescue);
    }
  }

  /**
   * A driver that has filled a call counter of its own holds the worker in a write to it, and with
   * the worker all commands, whichever ring they are about.
   */
  #freeWorker(): void {
    for (const { setup } of this.#runs.values()) {
      if (setup.callFd !== undefined) relieveFullEvent(setup.callFd);
      if (setup.errFd !== undefined) relieveFullEvent(setup.errFd);
      if (setup.logFd !== undefined) relieveFullEvent(setup.logFd);
    }
  }

  async setMemory(regions: readonly SharedRegion[]): Promise<void> {
    await this.#command({ kind: 'set-memory', regions });
  }

  async setLog(log: MappingHandle | undefined): Promise<void> {
    await this.#command({ kind: 'set-log', log });
  }

  async runRing(setup: RingSetup, onBroken: BrokenRingHandler): Promise<void> {
    this.#runs.set(setup.index, { setup, onBroken });
    await this.#command({ kind: 'run', setup });
  }

  async rewireRing(setup: RingSetup): Promise<void> {
    await this.#command({ kind: 'rewire', setup });
    const run = this.#runs.get(setup.index);
    if (run !== undefined) run.setup = setup;
  }

  async haltRing(index: number): Promise<number> {
    const base = await this.#command({ kind: 'halt', index });
    this.#runs.delete(index);
    return base;
  }

  async close(): Promise<void> {
    const exited = new Promise((resolve) => this.#worker.once('exit', resolve));
    await this.#command({ kind: 'close' });
    await exited;
    this.#wake.close();
  }

  /** The process ends: let the worker return from the kernel, whatever is under way. */
  dismiss(): void {
    this.#worker.postMessage({ id: this.#nextId, kind: 'leave' } satisfies QueueCommand);
    signalEvent(this.#wake.number);
  }
}
