/** A serving process, as its supervisor has it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { passConnection } from '../../exports/index.ts';
import {
  closeAll,
  createSocketPair,
  type Fd,
  type Reactor,
  receiveMessage,
  SystemError,
  type Watch,
} from '../../sys/index.ts';
import type { ProcessEnd } from './process-end.ts';
import type { ServingPlan } from './serving-plan.ts';

const PROGRAM = fileURLToPath(new URL('./serving-process.js', import.meta.url));

export interface ServingChildOptions {
  readonly reactor: Reactor;
  readonly plan: ServingPlan;
  /** The owner's opening of the image, if it is one. */
  readonly imageFd: number | undefined;
  readonly onReady: () => void;
  /** It has the connection that it was passed. */
  readonly onTaken: () => void;
  /** Called once, in the end. */
  readonly onEnd: (end: ProcessEnd) => void;
}

/** See the module's comment. */
export class ServingChild {
  readonly #child: ChildProcess;
  readonly #socket: Fd;
  readonly #watch: Watch;
  readonly #options: ServingChildOptions;
  #isReady = false;

  /** Start one. */
  constructor(options: ServingChildOptions) {
    this.#options = options;
    const [ours, theirs] = createSocketPair();
    this.#socket = ours;
    // In a session of its own: what a terminal sends goes to the supervisor, which passes it on.
    this.#child = spawn(
      process.execPath,
      [...process.execArgv, PROGRAM, JSON.stringify(options.plan)],
      {
        stdio: ['ignore', 'ignore', 'inherit', theirs.number, options.imageFd ?? 'ignore'],
        detached: true,
      },
    );
    theirs.close();
    this.#watch = options.reactor.watch(ours.number, { onReadable: () => this.#hear() });
    this.#child.once('exit', (code, signal) => this.#end({ code, signal }));
    // It could not be started: as if it had ended at once.
    this.#child.once('error', () => {
      if (this.#child.pid === undefined) this.#end({ code: 1, signal: null });
    });
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Hand it its client, whose connection stays open here, too. False if it has gone. */
  pass(connection: Fd, number: number): boolean {
    try {
      passConnection(this.#socket, connection, number);
      return true;
    } catch (error) {
      if (error instanceof SystemError) return false;
      throw error;
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The first byte says that it is ready, the next one that it has its client. */
  #hear(): void {
    if (!this.#receive()) return;
    if (this.#isReady) {
      this.#options.onTaken();
      return;
    }
    this.#isReady = true;
    this.#options.onReady();
  }

  /** Whether it has said something. */
  #receive(): boolean {
    try {
      const received = receiveMessage(this.#socket.number, new Uint8Array(1));
      if (received === undefined) return false;
      closeAll(received.fds);
      return received.bytes > 0;
    } catch (error) {
      // It has ended without taking what it was sent.
      if (error instanceof SystemError) return false;
      throw error;
    }
  }

  #end(end: ProcessEnd): void {
    // Its end may be known before what it has said last.
    if (this.#isReady) this.#hear();
    this.#watch.close();
    this.#socket.close();
    this.#options.onEnd(end);
  }
}
