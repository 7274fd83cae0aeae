/**
 * Descriptors that cases send, by name: those a front-end has to send, and those it has no business
 * to. Each is made when it is first asked for, and kept until the case ends.
 *
 *     memory0, log, kick2, call0, err1, full0 (a call counter that is full and blocks), tiny, huge,
 *     sealed, readonly, blank, event, socket, epoll, null, zero, random, file, directory, own
 */
import { constants, writeSync } from 'node:fs';
import {
  closeAll,
  createEventFd,
  createMemfd,
  createSocketPair,
  duplicateFd,
  EpollSet,
  type Fd,
  openFile,
  sealSize,
} from '../src/sys/index.ts';
import { CaseError } from './action.ts';
import type { GuestMemory } from './guest-memory.ts';

/** Bits for guest addresses up to 8 GiB: beyond all regions. */
const LOG_BYTES = 2 ** 18;
const BLANK_BYTES = 2 ** 20;
const TINY_BYTES = 4096;
const HUGE_BYTES = 2 ** 40;
/** An event counter takes no more than this. */
const FULL = new BigUint64Array([2n ** 64n - 2n]);

function blankMemory(): Fd {
  const fd = createMemfd('fuzz-blank', BLANK_BYTES);
  writeSync(fd.number, new Uint8Array(BLANK_BYTES).fill(0xff));
  return fd;
}

function sealedMemory(): Fd {
  const fd = createMemfd('fuzz-sealed', BLANK_BYTES);
  sealSize(fd);
  return fd;
}

/** Memory that can be read only: mapping it for writing is refused. */
function readOnlyMemory(): Fd {
  using fd = createMemfd('fuzz-readonly', BLANK_BYTES);
  return openFile(`/proc/self/fd/${fd.number}`, constants.O_RDONLY);
}

/** A counter that blocks whoever adds to it. */
function fullEvent(): Fd {
  const fd = createEventFd({ blocking: true });
  writeSync(fd.number, new Uint8Array(FULL.buffer));
  return fd;
}

const MAKERS: Readonly<Record<string, () => Fd>> = {
  log: () => createMemfd('fuzz-log', LOG_BYTES),
  tiny: () => createMemfd('fuzz-tiny', TINY_BYTES),
  huge: () => createMemfd('fuzz-huge', HUGE_BYTES),
  blank: blankMemory,
  sealed: sealedMemory,
  readonly: readOnlyMemory,
  event: createEventFd,
  kick: createEventFd,
  call: createEventFd,
  err: createEventFd,
  full: fullEvent,
  null: () => openFile('/dev/null', constants.O_RDWR),
  zero: () => openFile('/dev/zero', constants.O_RDWR),
  random: () => openFile('/dev/urandom', constants.O_RDONLY),
  file: () => openFile('/proc/self/exe', constants.O_RDONLY),
  directory: () => openFile('/', constants.O_RDONLY | constants.O_DIRECTORY),
};

/** Names for the generator to choose from. */
export const ODD_DESCRIPTORS: readonly string[] = [
  ...Object.keys(MAKERS).filter((name) => !['kick', 'call', 'err'].includes(name)),
  ...['memory0', 'memory1', 'memory2', 'kick0', 'call0', 'err0', 'socket', 'epoll', 'own'],
];

/** See the module's comment. */
export class CaseDescriptors implements Disposable {
  readonly #memory: GuestMemory;
  readonly #made = new Map<string, Fd>();
  readonly #others: Fd[] = [];
  readonly #sets: EpollSet[] = [];

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** The descriptor of a name. Stays the case's. */
  get(name: string): Fd {
    const [, region] = /^memory(\d)$/.exec(name) ?? [];
    if (region !== undefined) return this.#memory.fd(Number(region));
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    const made = this.#make(name);
    this.#made.set(name, made);
    return made;
  }

  #make(name: string): Fd {
    if (name === 'socket') {
      const [ours, theirs] = createSocketPair();
      this.#others.push(ours);
      return theirs;
    }
    if (name === 'epoll') {
      const set = new EpollSet();
      this.#sets.push(set);
      return duplicateFd(set.fd, 'epoll');
    }
    const maker = MAKERS[name] ?? MAKERS[name.replace(/\d$/, '')];
    if (maker === undefined) throw new CaseError(`no descriptor is called "${name}"`);
    return maker();
  }

  /** Keep a descriptor that came from the back-end under a name, in place of an earlier one. */
  keep(name: string, fd: Fd): void {
    this.#made.get(name)?.[Symbol.dispose]();
    this.#made.set(name, fd);
  }

  [Symbol.dispose](): void {
    closeAll([...this.#made.values(), ...this.#others]);
    for (const set of this.#sets) set[Symbol.dispose]();
  }
}
