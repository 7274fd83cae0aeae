/**
 * Serves each client in a process of its own, one after the other (`--isolate`).
 *
 * The supervisor has the socket and the image open, and touches neither a client's messages nor its
 * memory: whatever a client does to the process that serves it, the next one finds another. One
 * such process is always prepared in advance. The image is locked by the supervisor throughout, and
 * by each process for its turn: the requests of one that was killed are done before the next is
 * given a client.
 */
import { type Arrival, createControlReactor, type ServerSocket } from '../../exports/index.ts';
import { type Disk, ImageTurns, newTurnByte } from '../../storage/index.ts';
import {
  AttachedHome,
  type Logger,
  type Reactor,
  SystemError,
  setNoNewPrivileges,
  type Watch,
} from '../../sys/index.ts';
import { withOptions } from '../disk-choice.ts';
import { THREADS_TIMEOUT_MS } from '../disk-server.ts';
import { EXIT_FAILURE } from '../program.ts';
import type { VhostUserBlkConfig } from '../vhost-user-blk-options.ts';
import { lossOf, type ProcessEnd } from './process-end.ts';
import { RestartPace } from './restart-pace.ts';
import { ServingChild } from './serving-child.ts';
import { IMAGE_FD, type ServingPlan } from './serving-plan.ts';

/** How often to look whether the requests of a process that was killed are done. */
const TURN_LOOK_MS = 10;
/** When to say that they take long. */
const TURN_WARNING_MS = 1000;
/** How long to wait when a client cannot be accepted (out of descriptors, say). */
const ACCEPT_RETRY_MS = 100;
/** For a serving process to end by its own time limits first, though it may be told late. */
const KILL_MARGIN_MS = THREADS_TIMEOUT_MS + 1000;
/** A process that serves a client so long has not failed at once. */
const FAIR_LIFE_MS = 2000;

export interface SupervisorOptions {
  readonly config: VhostUserBlkConfig;
  readonly disk: Disk;
  readonly socket: ServerSocket;
  readonly logger: Logger;
}

/** A client that is served. */
interface Service {
  readonly client: number;
  readonly child: ServingChild;
  /** Fires when its process has lived long enough. */
  readonly fairLife: NodeJS.Timeout;
}

/** See the module's comment. */
export class Supervisor {
  /** Resolves with the program's exit code when there is nothing more to serve. */
  readonly ended: Promise<number>;
  readonly #options: SupervisorOptions;
  readonly #turnByte = newTurnByte();
  readonly #turns: ImageTurns;
  readonly #reactor: Reactor;
  readonly #home: AttachedHome;
  readonly #startPace = new RestartPace();
  readonly #servingPace = new RestartPace();
  #watch: Watch | undefined;
  #prepared: ServingChild | undefined;
  #serving: Service | undefined;
  /** Accepted, and not taken by a process yet. */
  #waiting: Arrival | undefined;
  #clients = 0;
  #isPaused = false;
  #isStopping = false;
  #hasEnded = false;
  #isFirst = true;
  #exitCode = 0;
  #resolveEnded: (code: number) => void = () => {};
  #onFirst: (isReady: boolean) => void = () => {};

  /** Throws an `ExportError`. */
  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#turns = new ImageTurns(options.disk, this.#turnByte);
    this.#reactor = createControlReactor(options.config.engine).reactor;
    this.#home = new AttachedHome(this.#reactor);
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    // What is executed needs no rights but these. Everything else is for serving processes to give
    // up: this one has to start them.
    if (options.config.sandbox !== 'off') setNoNewPrivileges();
  }

  /**
   * Prepare the first process. Resolves with false if it cannot serve: it has said why, and
   * `ended` resolves.
   */
  async start(): Promise<boolean> {
    const isReady = new Promise<boolean>((resolve) => {
      this.#onFirst = resolve;
    });
    this.#prepare();
    return await isReady;
  }

  /** Accept clients, and go on until there is nothing more to serve. */
  serve(): void {
    const { socket } = this.#options;
    if (socket.kind === 'listening') {
      this.#watch = this.#reactor.watch(socket.fd.number, { onReadable: () => this.#accept() });
    }
    this.#accept();
  }

  /** The size of the disk has changed. */
  hangUp(): void {
    this.#serving?.child.signal('SIGHUP');
  }

  /** Have the requests under way finished, and end. */
  stop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#watch?.close();
    this.#prepared?.signal('SIGKILL');
    this.#serving?.child.signal('SIGTERM');
    const limitMs = this.#options.config.shutdownTimeoutMs + KILL_MARGIN_MS;
    setTimeout(() => this.#serving?.child.signal('SIGKILL'), limitMs).unref();
    this.#endIfDone();
  }

  #prepare(): void {
    if (this.#isStopping) return;
    const { config, disk } = this.#options;
    const imageFd = disk.descriptor;
    const succession = { descriptor: IMAGE_FD, turnByte: this.#turnByte };
    const plan: ServingPlan = {
      server: config,
      disk: imageFd === undefined ? config.disk : withOptions(config.disk, { succession }),
      turnByte: this.#turnByte,
      logLevel: config.logLevel,
      logFormat: config.logFormat,
      isFirst: this.#isFirst,
    };
    const child: ServingChild = new ServingChild({
      ...{ reactor: this.#reactor, plan, imageFd },
      onReady: () => this.#onReady(),
      onTaken: () => this.#letGo(),
      onEnd: (end) => this.#onEnd(child, end),
    });
    this.#prepared = child;
  }

  #onReady(): void {
    this.#startPace.succeeded();
    this.#options.logger.debug(`process ${this.#prepared?.pid} is prepared for the next client`);
    if (!this.#isFirst) {
      this.#accept();
      return;
    }
    this.#isFirst = false;
    this.#onFirst(true);
  }

  #accept(): void {
    const child = this.#prepared;
    if (this.#isStopping || this.#isPaused || this.#serving !== undefined) return;
    if (child === undefined || !child.isReady) return;
    const { socket, logger } = this.#options;
    let arrival: Arrival | undefined | 'over';
    try {
      arrival = this.#waiting ?? socket.next();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      logger.error(`cannot accept a client: ${error.message}`);
      this.#pause(ACCEPT_RETRY_MS);
      return;
    }
    if (arrival === 'over') this.stop();
    if (arrival === undefined || arrival === 'over') return;
    this.#waiting = arrival;
    // If not, it has ended, which is about to be known: another is prepared then.
    if (!child.pass(arrival.connection, this.#clients + 1)) return;
    this.#clients += 1;
    logger.debug(`client ${this.#clients} is served by process ${child.pid}`);
    this.#prepared = undefined;
    const fairLife = setTimeout(() => this.#servingPace.succeeded(), FAIR_LIFE_MS);
    this.#serving = { client: this.#clients, child, fairLife };
    if (socket.kind === 'listening') this.#prepare();
  }

  #onEnd(child: ServingChild, end: ProcessEnd): void {
    const serving = this.#serving;
    if (child === serving?.child) {
      this.#serving = undefined;
      // Nobody has heard its client yet: the next one does.
      if (this.#waiting !== undefined) this.#clients -= 1;
      clearTimeout(serving.fairLife);
      this.#hasServed(serving.client, end);
    } else if (child === this.#prepared) {
      this.#prepared = undefined;
      this.#hasFailedToStart(end);
    }
    this.#endIfDone();
  }

  /** Who waited is heard. */
  #letGo(): void {
    this.#waiting?.connection.close();
    this.#waiting = undefined;
  }

  #hasServed(client: number, end: ProcessEnd): void {
    const loss = lossOf(end);
    const { logger, socket } = this.#options;
    if (loss === undefined) this.#servingPace.succeeded();
    else logger.error(`client ${client}: its process has been lost: ${loss}`);
    if (this.#isStopping || socket.kind === 'stream') {
      this.#exitCode = loss === undefined ? 0 : EXIT_FAILURE;
      this.stop();
    } else {
      this.#pause(loss === undefined ? 0 : this.#servingPace.failed());
    }
  }

  #hasFailedToStart(end: ProcessEnd): void {
    if (this.#isStopping) return;
    if (this.#isFirst) {
      this.#exitCode = EXIT_FAILURE;
      this.#onFirst(false);
      this.stop();
      return;
    }
    const delayMs = this.#startPace.failed();
    const why = lossOf(end) ?? 'it has ended';
    this.#options.logger.error(`the process for the next client has been lost: ${why}`);
    setTimeout(() => this.#prepare(), delayMs).unref();
  }

  /** Accept the next client in a while, and not before the disk is free. */
  #pause(delayMs: number): void {
    this.#isPaused = true;
    const startMs = performance.now();
    let isLong = false;
    const resume = (): void => {
      if (this.#isStopping) return;
      if (this.#turns.isFree) {
        this.#isPaused = false;
        this.#accept();
        return;
      }
      if (!isLong && performance.now() - startMs > delayMs + TURN_WARNING_MS) {
        isLong = true;
        const text = 'requests of the last process are still under way: the next client waits';
        this.#options.logger.warn(text);
      }
      setTimeout(resume, TURN_LOOK_MS);
    };
    setTimeout(resume, delayMs);
  }

  #endIfDone(): void {
    if (!this.#isStopping || this.#hasEnded) return;
    if (this.#serving !== undefined || this.#prepared !== undefined) return;
    this.#hasEnded = true;
    this.#letGo();
    this.#home.close();
    this.#reactor[Symbol.dispose]();
    this.#resolveEnded(this.#exitCode);
  }
}
