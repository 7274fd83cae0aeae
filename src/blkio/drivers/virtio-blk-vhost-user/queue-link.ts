/**
 * How the thread of a device and the thread that uses one of its queues keep in step: words in
 * shared memory, and a bell (an eventfd) for each direction.
 *
 * The device's thread gives commands: to leave the ring alone, to go on with it or with an empty one, to give up.
 * A command is a number that tells which, and how many there have been; the queue's thread writes
 * down the last one that it has obeyed. The ring is only touched by the device's thread while the
 * queue's thread has obeyed the command to leave it alone, or is not there.
 */
import {
  createEventFd,
  drainEvent,
  duplicateFd,
  Fd,
  type Reactor,
  signalEvent,
  type Watch,
} from '../../../sys/index.ts';
import type { Lease } from '../../lease.ts';
import type { QueueUser } from './queue-set.ts';

const Word = { COMMAND: 0, OBEYED: 1, FAILURE: 2, FAULT: 3 } as const;
/** The device's size, in bytes: a word of its own kind. */
const CAPACITY_AT = 16;
const TABLE_BYTES = 24;

/** Commands: the lowest bits. */
const Command = { START_ANEW: 0, LEAVE: 1, GIVE_UP: 2, GO_ON: 3 } as const;
const COMMAND_MASK = 3;
const COMMAND_STEP = 4;

/** What the queue's thread needs: good for one `QueueThreadEnd`, whose descriptors these are. */
export interface QueueLinkHandle {
  readonly words: SharedArrayBuffer;
  readonly toQueue: number;
  readonly toDevice: number;
}

/** What the device's thread is told. */
export interface QueueLinkEvents {
  /** The queue's thread leaves the ring alone, or has ended its use. */
  onQuiet(): void;
  /** The ring is broken: a `RingFault`. */
  onFault(fault: number): void;
}

/** The device's side: the user of a queue, as far as the device is concerned. */
export class DeviceEnd implements QueueUser {
  readonly #words: Int32Array;
  readonly #capacity: BigInt64Array;
  readonly #lease: Lease;
  readonly #toQueue: Fd = createEventFd();
  readonly #toDevice: Fd = createEventFd();
  readonly #watch: Watch;

  constructor(reactor: Reactor, lease: Lease, events: QueueLinkEvents) {
    const shared = new SharedArrayBuffer(TABLE_BYTES);
    this.#words = new Int32Array(shared, 0, CAPACITY_AT / Int32Array.BYTES_PER_ELEMENT);
    this.#capacity = new BigInt64Array(shared, CAPACITY_AT, 1);
    this.#lease = lease;
    this.#watch = reactor.watch(this.#toDevice.number, { onReadable: () => this.#listen(events) });
  }

  #listen(events: QueueLinkEvents): void {
    drainEvent(this.#toDevice.number);
    const fault = Atomics.exchange(this.#words, Word.FAULT, 0);
    if (fault !== 0) events.onFault(fault);
    if (this.isQuiet) events.onQuiet();
  }

  /** For the queue's thread. */
  share(): QueueLinkHandle {
    return {
      words: this.#words.buffer as SharedArrayBuffer,
      toQueue: duplicateFd(this.#toQueue.number, 'queue link').release(),
      toDevice: duplicateFd(this.#toDevice.number, 'queue link').release(),
    };
  }

  set capacityBytes(bytes: number) {
    Atomics.store(this.#capacity, 0, BigInt(bytes));
  }

  get isQuiet(): boolean {
    const command = Atomics.load(this.#words, Word.COMMAND);
    if ((command & COMMAND_MASK) !== Command.LEAVE) return false;
    // Whoever takes the queue later finds the command.
    return !this.#lease.isHeld || Atomics.load(this.#words, Word.OBEYED) === command;
  }

  lose(): void {
    this.#say(Command.LEAVE);
  }

  resume(isSame: boolean): void {
    // Of the ring that was: whoever could find another leaves it alone.
    Atomics.store(this.#words, Word.FAULT, 0);
    this.#say(isSame ? Command.GO_ON : Command.START_ANEW);
  }

  fail(result: number): void {
    Atomics.store(this.#words, Word.FAILURE, result);
    this.#say(Command.GIVE_UP);
  }

  #say(command: number): void {
    const before = Atomics.load(this.#words, Word.COMMAND);
    const next = (before - (before & COMMAND_MASK) + COMMAND_STEP + command) | 0;
    Atomics.store(this.#words, Word.COMMAND, next);
    signalEvent(this.#toQueue.number);
  }

  /** No more commands. */
  close(): void {
    this.#watch.close();
    this.#toQueue.close();
    this.#toDevice.close();
  }
}

/** The queue's side: obeys on behalf of the user that is really there. */
export class QueueThreadEnd {
  readonly #words: Int32Array;
  readonly #capacity: BigInt64Array;
  readonly #toQueue: Fd;
  readonly #toDevice: Fd;
  /** What was in force in the beginning. */
  readonly #firstCommand: number;
  #watch: Watch | undefined;

  constructor({ words, toQueue, toDevice }: QueueLinkHandle) {
    this.#words = new Int32Array(words, 0, CAPACITY_AT / Int32Array.BYTES_PER_ELEMENT);
    this.#capacity = new BigInt64Array(words, CAPACITY_AT, 1);
    this.#toQueue = new Fd(toQueue, 'queue link');
    this.#toDevice = new Fd(toDevice, 'queue link');
    this.#firstCommand = Atomics.load(this.#words, Word.COMMAND);
  }

  get capacityBytes(): number {
    return Number(Atomics.load(this.#capacity, 0));
  }

  /** Whether there was a back-end in the beginning. */
  get startsConnected(): boolean {
    const kind = this.#firstCommand & COMMAND_MASK;
    return kind === Command.START_ANEW || kind === Command.GO_ON;
  }

  /** Have a user, which begins as `startsConnected` says, obey from now on. */
  obey(reactor: Reactor, user: QueueUser): void {
    this.#watch = reactor.watch(this.#toQueue.number, { onReadable: () => this.#listen(user) });
    this.#carryOut(this.#firstCommand, user);
  }

  #listen(user: QueueUser): void {
    drainEvent(this.#toQueue.number);
    const command = Atomics.load(this.#words, Word.COMMAND);
    if (command !== Atomics.load(this.#words, Word.OBEYED)) this.#carryOut(command, user);
  }

  #carryOut(command: number, user: QueueUser): void {
    const kind = command & COMMAND_MASK;
    if (kind === Command.LEAVE) user.lose();
    else if (kind === Command.GIVE_UP) user.fail(Atomics.load(this.#words, Word.FAILURE));
    else if (command !== this.#firstCommand) user.resume(kind === Command.GO_ON);
    Atomics.store(this.#words, Word.OBEYED, command);
    if (kind === Command.LEAVE) signalEvent(this.#toDevice.number);
  }

  /** The ring is broken. */
  sayFault(fault: number): void {
    Atomics.store(this.#words, Word.FAULT, fault);
    signalEvent(this.#toDevice.number);
  }

  /** Nothing more will be obeyed. */
  stopListening(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  /** The lease has ended: the device's thread need not wait for this one. */
  close(): void {
    signalEvent(this.#toDevice.number);
    this.#toQueue.close();
    this.#toDevice.close();
  }
}
