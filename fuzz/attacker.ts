/**
 * Carries a case out: each action, in order, against the back-end at a socket. Whatever the back-end
 * does, this goes on to the end; whether it did right is for the invariants to say.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Fd, SystemError } from '../src/sys/index.ts';
import { type Action, CaseError, formatAction } from './action.ts';
import { type ActionTable, type AttackPlace, MAX_COUNT } from './attack-place.ts';
import { connectPatiently, FuzzConnection } from './connection.ts';
import { CaseDescriptors } from './descriptors.ts';
import { frameOf } from './frames.ts';
import { Guest } from './guest.ts';
import { GuestMemory } from './guest-memory.ts';
import { firstNumber, numberOf, parseNumber } from './numbers.ts';

/** Longest wait for answers, and of a `pause`. */
const ANSWERS_MS = 60;
const PAUSE_MS = 500;
const MAX_CONNECTS = 5000;

/** See the module's comment. One case. */
export class Attacker implements Disposable {
  readonly #place: AttackPlace;
  readonly #memory = new GuestMemory();
  readonly #fds = new CaseDescriptors(this.#memory);
  readonly #guest: Guest;
  readonly #connections = new Map<string, FuzzConnection>();
  readonly #waiting: Fd[] = [];
  #current: FuzzConnection | undefined;

  constructor(place: AttackPlace) {
    this.#place = place;
    this.#guest = new Guest(this.#memory, this.#fds, place.counts);
  }

  /** Carry out one action. @throws CaseError for one that makes no sense. */
  async perform(action: Action): Promise<void> {
    const handler = this.#table[action.verb] ?? this.#guest.table[action.verb];
    if (handler === undefined) {
      throw new CaseError(`"${formatAction(action)}": ${action.verb} is unknown`);
    }
    this.#place.counts.actions += 1;
    await handler(action);
  }

  readonly #table: ActionTable = {
    connect: (action) => this.#connect(action.words[0] ?? '1'),
    use: ({ words: [name = '1'] }) => {
      this.#current = this.#connections.get(name) ?? this.#current;
    },
    'hang-up': () => this.#hangUp(),
    connects: (action) => this.#manyConnects(action, false),
    pile: (action) => this.#manyConnects(action, true),
    'stop-reading': () => this.#current?.stopReading(),
    'read-again': () => this.#current?.readAgain(),
    send: (action) => this.#send(action),
    flood: (action) => this.#flood(action),
    raw: (action) => this.#sendBytes(action, Buffer.from(action.words[0] ?? '', 'hex')),
    await: () => this.#current?.answers(ANSWERS_MS),
    pause: (action) => delay(Math.min(firstNumber(action, 1), PAUSE_MS)),
    signal: ({ words: [name] }) => this.#signal(name),
  };

  async #connect(name: string): Promise<void> {
    const { reactor, socketPath, counts } = this.#place;
    const socket = await connectPatiently(socketPath);
    if (socket === undefined) return;
    counts.connects += 1;
    this.#connections.get(name)?.[Symbol.dispose]();
    this.#current = new FuzzConnection(reactor, socket);
    this.#connections.set(name, this.#current);
  }

  #hangUp(): void {
    for (const [name, connection] of this.#connections) {
      if (connection === this.#current) this.#connections.delete(name);
    }
    this.#current?.[Symbol.dispose]();
    this.#current = undefined;
  }

  /** Connections that say nothing: each ends at once, or, a pile of them, at the end. */
  async #manyConnects(action: Action, isPile: boolean): Promise<void> {
    const count = Math.min(firstNumber(action, 1), MAX_CONNECTS);
    for (let done = 0; done < count; done++) {
      const socket = await connectPatiently(this.#place.socketPath);
      if (socket === undefined) return;
      this.#place.counts.connects += 1;
      if (isPile) this.#waiting.push(socket);
      else socket.close();
    }
  }

  #fdsOf({ values }: Action): readonly Fd[] {
    const names = (values.get('fds') ?? '').split(',').filter(Boolean);
    return names.flatMap((name) => {
      if (name === 'own') return this.#current === undefined ? [] : [this.#current.socket];
      if (name === 'inflight') this.#keepInflight();
      return [this.#fds.get(name === 'inflight' ? 'sealed' : name)];
    });
  }

  /** What GET_INFLIGHT_FD has brought stands in for the sealed memory. */
  #keepInflight(): void {
    const fd = this.#current?.takeDescriptor();
    if (fd !== undefined) this.#fds.keep('sealed', fd);
  }

  async #sendBytes(action: Action, bytes: Buffer): Promise<void> {
    const cut = numberOf(action, 'cut', bytes.length);
    if (cut === 0) return;
    const chunkBytes = numberOf(action, 'chunk', bytes.length);
    const isSpread = action.words.includes('spread');
    await this.#current?.send(bytes.subarray(0, cut), {
      ...{ fds: this.#fdsOf(action), chunkBytes, isSpread },
    });
  }

  async #send(action: Action): Promise<void> {
    const connection = this.#current;
    if (connection === undefined) return;
    const { bytes, answer } = frameOf(this.#withBase(action));
    this.#place.counts.messages += 1;
    if (answer === 'always' || (answer === 'if asked' && connection.hasAcknowledgements)) {
      connection.expected += 1;
    }
    await this.#sendBytes(action, bytes);
    if (action.words[0] !== 'SET_PROTOCOL_FEATURES') return;
    const features = parseNumber(action.values.get('value') ?? '0');
    connection.hasAcknowledgements = (features & 8n) !== 0n;
  }

  /** `num=base` is where this driver of the ring stands. */
  #withBase(action: Action): Action {
    if (action.values.get('num') !== 'base') return action;
    const base = this.#guest.base(numberOf(action, 'index', 0));
    return { ...action, values: new Map([...action.values, ['num', String(base)]]) };
  }

  /** A message many times, in one go as far as the socket takes it. */
  async #flood(action: Action): Promise<void> {
    const { bytes, answer } = frameOf(action);
    const count = Math.min(numberOf(action, 'times', 1000), MAX_COUNT);
    const perRound = Math.max(1, Math.floor(8192 / bytes.length));
    for (let done = 0; done < count && this.#current?.isHungUp === false; done += perRound) {
      const round = Math.min(perRound, count - done);
      if (answer === 'always') this.#current.expected += round;
      this.#place.counts.messages += round;
      await this.#current.send(Buffer.concat(Array.from({ length: round }, () => bytes)));
    }
  }

  #signal(name: string | undefined): void {
    const { pid } = this.#place;
    if (name !== 'SIGHUP') throw new CaseError(`signal ${name}: SIGHUP is the only one`);
    if (pid !== undefined) process.kill(pid, name);
  }

  /** Hang up everywhere, and let all that was shared go. */
  [Symbol.dispose](): void {
    for (const connection of this.#connections.values()) connection[Symbol.dispose]();
    for (const fd of this.#waiting) fd[Symbol.dispose]();
    this.#fds[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }
}

/** Carry out a case. @throws CaseError for one that makes no sense. */
export async function attack(place: AttackPlace, actions: readonly Action[]): Promise<void> {
  using attacker = new Attacker(place);
  for (const action of actions) {
    try {
      await attacker.perform(action);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      throw new Error(`"${formatAction(action)}": ${error.message}`, { cause: error });
    }
  }
}
