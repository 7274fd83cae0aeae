/** Carries out what the main thread tells a queue worker, on the worker's reactor. */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { type Reactor, SystemError } from '../../sys/index.ts';
import type { QueueRunner } from './queue-runner.ts';
import type { BeginCommand, QueueCommand, QueueWorkerMessage } from './queue-worker-messages.ts';

/** What a worker does itself. */
export interface CommandTaker {
  /** What the queues are on; absent: `begin` has not come. */
  runner: QueueRunner | undefined;
  /** For workers that are not told all of it at their start. */
  begin?(command: BeginCommand): void;
  /** Say the disk's size. */
  look?(): void;
  /** The runner is closed: let the rest go. The worker may end as soon as it has returned. */
  close(): void | Promise<void>;
  /** End at once. */
  leave(): void;
  /** Some commands have been carried out. */
  afterCommands?(): void;
}

/** See the module's comment. */
export class QueueCommands {
  readonly #port: MessagePort;
  readonly #taker: CommandTaker;

  /** Begin to take commands. @param wakeFd - the bell: it rings when there are some. */
  constructor(reactor: Reactor, wakeFd: number, port: MessagePort, taker: CommandTaker) {
    this.#port = port;
    this.#taker = taker;
    reactor.watch(wakeFd, { onReadable: () => this.#takeAll() });
  }

  #takeAll(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port);
      if (received === undefined) break;
      this.#orRefuse(received.message as QueueCommand);
    }
    this.#taker.afterCommands?.();
  }

  /** Carry out a command, or say that the kernel has refused what it takes. */
  #orRefuse(command: QueueCommand): void {
    try {
      this.#carryOut(command);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      const { syscall, errno } = error;
      this.#say({ kind: 'refused', id: command.id, syscall, errno });
    }
  }

  #carryOut(command: QueueCommand): void {
    const { runner } = this.#taker;
    const done = (base = 0): void => this.#say({ kind: 'done', id: command.id, base });
    switch (command.kind) {
      case 'begin':
        this.#taker.begin?.(command);
        break;
      case 'look':
        this.#taker.look?.();
        break;
      case 'set-memory':
        runner?.setMemory(command.regions);
        break;
      case 'set-log':
        runner?.setLog(command.log);
        break;
      case 'run': {
        const { index } = command.setup;
        runner?.runRing(command.setup, (reason) => this.#say({ kind: 'broken', index, reason }));
        break;
      }
      case 'rewire':
        runner?.rewireRing(command.setup);
        break;
      case 'halt':
        runner?.haltRing(command.index, command.mode, done);
        return;
      case 'close': {
        runner?.close();
        const closing = this.#taker.close();
        if (closing === undefined) break;
        void closing.then(() => done());
        return;
      }
      case 'leave':
        this.#taker.leave();
        return;
    }
    done();
  }

  #say(message: QueueWorkerMessage): void {
    this.#port.postMessage(message);
  }
}
