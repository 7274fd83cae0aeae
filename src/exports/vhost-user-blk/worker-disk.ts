/** A disk that is open in a worker of its own, as the main thread has it. */
import { EventEmitter } from 'node:events';
import { Worker } from 'node:worker_threads';
import {
  type Disk,
  type DiskChannel,
  type DiskHandle,
  type DiskInfo,
  type OpenOptions,
  StorageError,
} from '../../storage/index.ts';
import {
  createEventFd,
  type EngineChoice,
  type Logger,
  silentLogger,
  ThreadLedger,
} from '../../sys/index.ts';
import type { DiskFacts, DiskWorkerData, DiskWorkerMessage } from './disk-worker-messages.ts';
import type { QueueHost } from './queue-host.ts';
import type { QueueServing, QueueWorkerMessage } from './queue-worker-messages.ts';
import { RemoteQueueHost } from './remote-queue-host.ts';

const HERE = 'it is open in a worker of its own, and served there';

/** How to open it. */
export interface WorkerDiskOptions extends Omit<OpenOptions, 'locking'> {
  readonly engine?: EngineChoice;
  /** What comes later than the opening (`ImageLocking`) would be for the worker to do. */
  readonly locking?: boolean;
}

/** A disk that the worker's disk consists of: there is no more to it than facts. */
class FarDisk implements Disk {
  readonly kind: string;
  readonly description: string;
  readonly info: DiskInfo;
  readonly needsOutside: string | undefined;
  readonly needsEventLoop: string = HERE;
  readonly below: readonly Disk[];

  constructor({ kind, description, info, needsOutside, below }: DiskFacts) {
    this.kind = kind;
    this.description = description;
    this.info = info;
    this.needsOutside = needsOutside;
    this.below = below.map((facts) => new FarDisk(facts));
  }

  currentSizeBytes(): number {
    return this.info.sizeBytes;
  }

  openChannel(): DiskChannel {
    throw new TypeError(`${this.kind}: ${HERE}`);
  }

  share(): DiskHandle {
    throw new TypeError(`${this.kind}: ${HERE}`);
  }

  close(): void | Promise<void> {}
}

/** See the module's comment. */
export class WorkerDisk extends FarDisk {
  readonly #host: RemoteQueueHost;
  #isServed = false;
  #logger: Logger;
  #sizeBytes: number;
  readonly #resizes = new EventEmitter();

  /**
   * Open a disk in a new worker. Rejects with a `StorageError`, or with what the worker has died of.
   *
   * @param disk - as people write it: `./my-disk.js,colour=red`.
   */
  static async open(disk: string, options: WorkerDiskOptions = {}): Promise<WorkerDisk> {
    const { logger = silentLogger, engine = 'auto', ...rest } = options;
    const wake = createEventFd();
    const ledger = new ThreadLedger();
    const fds = { wakeFd: wake.number, ledger: ledger.buffer };
    const workerData: DiskWorkerData = { disk, options: rest, engine, ...fds };
    const worker = new Worker(new URL('./disk-worker.js', import.meta.url), { workerData });
    const host = RemoteQueueHost.adopt({ worker, wake, ledger });
    try {
      const facts = await factsFrom(worker, logger);
      return new WorkerDisk(facts, worker, host, logger);
    } catch (error) {
      // It has ended, or is about to.
      await host.exited;
      throw error;
    }
  }

  private constructor(facts: DiskFacts, worker: Worker, host: RemoteQueueHost, logger: Logger) {
    super(facts);
    this.#host = host;
    this.#logger = logger;
    this.#sizeBytes = facts.info.sizeBytes;
    worker.on('message', (message: DiskWorkerMessage | QueueWorkerMessage) => {
      if (message.kind === 'log') this.#logger[message.level](message.message);
      if (message.kind !== 'resized') return;
      this.#sizeBytes = message.sizeBytes;
      this.#resizes.emit('resize');
    });
  }

  override currentSizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The worker says what has changed before it says that it has looked. */
  lookAgain(): Promise<void> {
    return this.#host.look();
  }

  useLogger(logger: Logger): void {
    this.#logger = logger;
  }

  onResize(listener: () => void): () => void {
    this.#resizes.on('resize', listener);
    return () => this.#resizes.off('resize', listener);
  }

  /** Where its queues are served: for one server, which closes it. */
  async startHost(serving: QueueServing, onFailure: (error: Error) => void): Promise<QueueHost> {
    await this.#host.begin(serving);
    this.#host.onFailure = onFailure;
    this.#isServed = true;
    return this.#host;
  }

  /** Only if it has not been served: else it was closed with its host. */
  override async close(): Promise<void> {
    if (!this.#isServed) await this.#host.close();
  }
}

/** What a worker says of the disk that it opens. */
function factsFrom(worker: Worker, logger: Logger): Promise<DiskFacts> {
  return new Promise((resolve, reject) => {
    const settle = (action: () => void): void => {
      worker.off('message', onMessage);
      worker.off('error', onError);
      worker.off('exit', onExit);
      action();
    };
    const onMessage = (message: DiskWorkerMessage): void => {
      if (message.kind === 'opened') settle(() => resolve(message.disk));
      else if (message.kind === 'log') logger[message.level](message.message);
      else if (message.kind === 'refused-disk') {
        settle(() => reject(new StorageError(message.code, message.message)));
      }
    };
    const onError = (error: Error): void => settle(() => reject(error));
    const onExit = (): void =>
      settle(() =>
        reject(new StorageError('DISK_OBJECT', 'the worker ended while it opened the disk')),
      );
    worker.on('message', onMessage);
    worker.on('error', onError);
    worker.on('exit', onExit);
  });
}
