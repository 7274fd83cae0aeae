/** A request on its way through the methods of a disk object. */
import type { AccessOptions } from '../access/disk-access.ts';
import { DiskFlag, DiskOperation } from '../disk-requests.ts';
import type { DiskObject, ObjectRequest, Settled } from './disk-object.ts';

/** Who has asked: knows where the data is, and waits for the result. */
export interface ObjectCaller {
  /**
   * The memory of a READ or WRITE, for the methods; called once, when its turn has come.
   *
   * @param inPieces - the method takes memory in several pieces.
   * @param isPrivate - the method may still use it when the request has been given up.
   */
  lend(call: ObjectCall, inPieces: boolean, isPrivate: boolean): readonly Uint8Array[];
  /**
   * The memory is not used any more. `isDone`: what was read is to be taken. False: a method has
   * transferred it to somebody, from whom it cannot be had back.
   */
  takeBack(call: ObjectCall, isDone: boolean): boolean;
  /** The end: 0 or a negative errno. Never called within `submit`. */
  onSettled(call: ObjectCall, result: number): void;
}

/** Bytes of a disk. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** See the module's comment. */
export class ObjectCall implements ObjectRequest {
  readonly caller: ObjectCaller;
  /** The caller's. */
  readonly slot: number;
  /** `DiskOperation`. */
  readonly operation: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  /** Earlier requests that have to settle first, and later ones that wait for this one. */
  blockers = 0;
  followers: ObjectCall[] | undefined;
  /** `CallList`. */
  previous: ObjectCall | undefined;
  next: ObjectCall | undefined;
  isListed = false;
  /** A method has it. */
  hasBegun = false;
  /** Its caller has been told an error already. */
  isGivenUp = false;
  /** The memory that was lent, and whether it is nobody else's. */
  buffers: Uint8Array<ArrayBuffer>[] | undefined;
  isCopied = false;
  timer: NodeJS.Timeout | undefined;
  readonly #outer: Pick<AccessOptions, 'signal'> | undefined;
  #controller: AbortController | undefined;
  #signal: AbortSignal | undefined;
  #abortReason: Error | undefined;

  constructor(
    caller: ObjectCaller,
    slot: number,
    operation: number,
    flags: number,
    { offset, length }: ByteRange,
    outer?: Pick<AccessOptions, 'signal'>,
  ) {
    this.caller = caller;
    this.slot = slot;
    this.operation = operation;
    this.flags = flags;
    this.offset = offset;
    this.length = length;
    this.#outer = outer;
  }

  get stable(): boolean {
    return (this.flags & DiskFlag.STABLE) !== 0;
  }

  get mayUnmap(): boolean {
    return (this.flags & DiskFlag.UNMAP) !== 0;
  }

  get mustBeFast(): boolean {
    return (this.flags & DiskFlag.NO_FALLBACK) !== 0;
  }

  get signal(): AbortSignal {
    this.#signal ??= this.#makeSignal();
    return this.#signal;
  }

  #makeSignal(): AbortSignal {
    const controller = new AbortController();
    this.#controller = controller;
    if (this.#abortReason !== undefined) controller.abort(this.#abortReason);
    const outer = this.#outer?.signal;
    return outer === undefined ? controller.signal : AbortSignal.any([controller.signal, outer]);
  }

  /** Tell the method, if it wants to know, that nobody waits any more. */
  abort(reason: Error): void {
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  get isAborted(): boolean {
    return this.#abortReason !== undefined || this.#outer?.signal?.aborted === true;
  }

  /** How many bytes its caller has, or wants: 0 if it is no READ or WRITE. */
  get dataBytes(): number {
    const { operation } = this;
    return operation === DiskOperation.READ || operation === DiskOperation.WRITE ? this.length : 0;
  }

  get changesData(): boolean {
    return this.operation !== DiskOperation.READ && this.operation !== DiskOperation.FLUSH;
  }

  /** Whether it has to wait for an earlier one. */
  mustFollow(earlier: ObjectCall): boolean {
    if (earlier.operation === DiskOperation.FLUSH) return false;
    if (this.operation === DiskOperation.FLUSH) return earlier.changesData;
    if (!this.changesData && !earlier.changesData) return false;
    return (
      this.offset < earlier.offset + earlier.length && earlier.offset < this.offset + this.length
    );
  }

  /** Have the object do it. @param isPrivate - see `ObjectCaller.lend`. */
  invoke(object: DiskObject, isPrivate: boolean): Settled {
    if (this.operation === DiskOperation.READ) return this.read(object, isPrivate);
    if (this.operation === DiskOperation.FLUSH) return object.flush?.(this);
    const settled = this.#change(object, isPrivate);
    if (!this.stable || object.honoursStable === true || object.flush === undefined) return settled;
    const promise = promiseOf(settled);
    if (promise === undefined) return object.flush(this);
    return promise.then(() => object.flush?.(this));
  }

  #change(object: DiskObject, isPrivate: boolean): Settled {
    if (this.operation === DiskOperation.DISCARD) {
      return object.discard?.(this.offset, this.length, this);
    }
    if (this.operation === DiskOperation.WRITE_ZEROES) {
      return object.writeZeroes?.(this.offset, this.length, this);
    }
    return this.write(object, isPrivate);
  }

  protected read(object: DiskObject, isPrivate: boolean): Settled {
    const { readv } = object;
    const buffers = this.caller.lend(this, readv !== undefined, isPrivate);
    if (buffers.length === 1 || readv === undefined) {
      return object.read(buffers[0], this.offset, this);
    }
    return readv.call(object, buffers, this.offset, this);
  }

  protected write(object: DiskObject, isPrivate: boolean): Settled {
    const { writev } = object;
    const buffers = this.caller.lend(this, writev !== undefined, isPrivate);
    if (buffers.length === 1 || writev === undefined) {
      return object.write?.(buffers[0], this.offset, this);
    }
    return writev.call(object, buffers, this.offset, this);
  }
}

/**
 * What a method has given, as a promise that tells its end once and not at once, whoever made it;
 * `undefined`: it has settled. Throws what looking at it throws.
 */
export function promiseOf(settled: Settled): Promise<void> | undefined {
  if (settled instanceof Promise) return settled;
  const isPromise = typeof (settled as PromiseLike<void> | undefined)?.then === 'function';
  return isPromise ? Promise.resolve(settled) : undefined;
}
