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
  SystemError,
  signalEvent,
  ThreadLedger,
} from '../../sys/index.ts';
import type { HaltMode, RingSetup } from '../../vhost-user/index.ts';
import { ExportError } from '../errors.ts';
import type { BrokenRingHandler, QueueHost, SharedRegion } from './queue-host.ts';
import type {
  QueueCommand,
  QueueServing,
  QueueWorkerData,
  QueueWorkerMessage,
} from './queue-worker-messages.ts';

/**
 * Young generation of a worker, in megabytes: the data path leaves a little garbage per request
 * only where numbers above 2^31 go through system calls; a large nursery makes collections rare.
 */
const YOUNG_GENERATION_MB = 32;

/** How long a command may take before the worker is looked after, and how often then. */
const RESCUE_INTERVAL_MS = 200;

/** Who waits for a command to be carried out. */
interface Waiting {
  readonly resolve: (base: number) => void;
  readonly reject: (error: Error) => void;
}

/** A ring that runs in the worker. */
interface Run {
  setup: RingSetup;
  readonly onBroken: BrokenRingHandler;
}

export interface RemoteQueueHostOptions extends Omit<QueueWorkerData, 'wakeFd' | 'ledger'> {
  readonly logger: Logger;
  /** See `RemoteQueueHost.onFailure`. */
  readonly onFailure: (error: Error) => void;
}

/** A worker, the bell that it is woken by, and what it says it has open. */
export interface HostWorker {
  readonly worker: Worker;
  readonly wake: Fd;
  readonly ledger: ThreadLedger;
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
  readonly #ledger: ThreadLedger;
  readonly #waiting = new Map<number, Waiting>();
  readonly #runs = new Map<number, Run>();
  /** Called once if the worker ends without having been told to: with what it has died of. */
  onFailure: (error: Error) => void = () => {};
  /** Resolves when the thread has gone, however it has ended. */
  readonly exited: Promise<void>;
  #nextId = 0;
  /** Why no command can be carried out any more. */
  #failure: Error | undefined;
  #isLeaving = false;

  /** Resolves when the worker is ready for commands. Rejects if it cannot start. */
  static async start(options: RemoteQueueHostOptions): Promise<RemoteQueueHost> {
    const wake = createEventFd();
    const { onFailure, logger, ...data } = options;
    const ledger = new ThreadLedger();
    const workerData: QueueWorkerData = { ...data, wakeFd: wake.number, ledger: ledger.buffer };
    const worker = new Worker(new URL('./queue-worker.js', import.meta.url), {
      workerData,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    const host = new RemoteQueueHost({ worker, wake, ledger });
    await new Promise<void>((resolve, reject) => {
      host.onFailure = reject;
      worker.on('message', (message: QueueWorkerMessage) => {
        if (message.kind !== 'ready') return;
        logger.info(`queue worker uses ${message.engine}: ${message.because}`);
        if (message.landlockRefusal !== undefined) {
          logger.warn(`queue worker is not restricted: ${message.landlockRefusal}`);
        }
        host.onFailure = onFailure;
        resolve();
      });
    });
    return host;
  }

  /** Command a worker that is nobody else's, as soon as it takes commands. Takes the bell over. */
  static adopt(parts: HostWorker): RemoteQueueHost {
    return new RemoteQueueHost(parts);
  }

  private constructor({ worker, wake, ledger }: HostWorker) {
    this.#worker = worker;
    this.#wake = wake;
    this.#ledger = ledger;
    if (liveHosts.size === 0) process.on('exit', dismissAll);
    liveHosts.add(this);
    // It ends right after: what is under way is rejected then, when nothing of it goes on.
    worker.once('error', (error: unknown) => {
      this.#failure = error instanceof Error ? error : new Error(String(error));
    });
    this.exited = new Promise((resolve) => {
      worker.once('exit', (code) => {
        this.#onExit(code);
        resolve();
      });
    });
    worker.on('message', (message: QueueWorkerMessage) => {
      if (message.kind === 'broken') this.#runs.get(message.index)?.onBroken(message.reason);
      if (message.kind !== 'done' && message.kind !== 'refused') return;
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.kind === 'done') waiting?.resolve(message.base);
      else waiting?.reject(new SystemError(message.syscall, message.errno));
    });
  }

  #onExit(code: number): void {
    liveHosts.delete(this);
    if (liveHosts.size === 0) process.off('exit', dismissAll);
    this.#wake.close();
    this.#ledger.closeAll();
    this.#failure ??= new ExportError('WORKER_ENDED', `the worker has ended (code ${code})`);
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
    if (!this.#isLeaving) this.onFailure(this.#failure);
  }

  async #command(body: CommandBody): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure;
    const id = this.#nextId;
    this.#nextId += 1;
    const rescue = setInterval(() => this.#freeWorker(), RESCUE_INTERVAL_MS);
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
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

  /** For workers that had something else to do first. */
  async begin(serving: QueueServing): Promise<void> {
    await this.#command({ kind: 'begin', ...serving });
  }

  /** For workers that have the disk open: have them say its size. */
  async look(): Promise<void> {
    await this.#command({ kind: 'look' });
  }

  async setMemory(regions: readonly SharedRegion[]): Promise<void> {
    await this.#command({ kind: 'set-memory', regions });
  }

  async setLog(log: MappingHandle | undefined): Promise<void> {
    await this.#command({ kind: 'set-log', log });
  }

  async runRing(setup: RingSetup, onBroken: BrokenRingHandler): Promise<void> {
    this.#runs.set(setup.index, { setup, onBroken });
    try {
      await this.#command({ kind: 'run', setup });
    } catch (error) {
      this.#runs.delete(setup.index);
      throw error;
    }
  }

  async rewireRing(setup: RingSetup): Promise<void> {
    await this.#command({ kind: 'rewire', setup });
    const run = this.#runs.get(setup.index);
    if (run !== undefined) run.setup = setup;
  }

  async haltRing(index: number, mode: HaltMode): Promise<number> {
    const base = await this.#command({ kind: 'halt', index, mode });
    this.#runs.delete(index);
    return base;
  }

  /** Resolves when the thread has gone; rejects if it goes before it has closed its disk. */
  async close(): Promise<void> {
    if (this.#failure === undefined) {
      this.#isLeaving = true;
      await this.#command({ kind: 'close' });
    }
    await this.exited;
  }

  /** The process ends: let the worker return from the kernel, whatever is under way. */
  dismiss(): void {
    this.#isLeaving = true;
    this.#worker.postMessage({ id: this.#nextId, kind: 'leave' } satisfies QueueCommand);
    signalEvent(this.#wake.number);
  }
}
