/**
 * One queue's way into a disk object: requests in slots become calls of methods. Memory in one
 * piece is lent as it is, without a copy.
 */
import {
  bufferAddress,
  type IovecTable,
  joinHalves,
  lendView,
  type Reactor,
  takeBack,
} from '../../sys/index.ts';
import type { DiskChannel, DiskRequestHandler } from '../disk.ts';
import { DiskOperation, type DiskRequests } from '../disk-requests.ts';
import { ObjectCall, type ObjectCaller } from './object-call.ts';
import { PartialCall } from './partial-call.ts';
import type { RequestOrder } from './request-order.ts';

/** See the module's comment. */
export class ObjectChannel implements DiskChannel, ObjectCaller {
  readonly #order: RequestOrder;
  readonly #blockBytes: number;
  readonly #reactor: Reactor;
  readonly #requests: DiskRequests;
  readonly #handler: DiskRequestHandler;

  /** @param blockBytes - what methods are given is a multiple of it. */
  constructor(
    order: RequestOrder,
    blockBytes: number,
    reactor: Reactor,
    requests: DiskRequests,
    handler: DiskRequestHandler,
  ) {
    this.#order = order;
    this.#blockBytes = blockBytes;
    this.#reactor = reactor;
    this.#requests = requests;
    this.#handler = handler;
  }

  start(slot: number): number {
    const requests = this.#requests;
    const operation = requests.operation[slot];
    const flags = requests.flags[slot];
    const length = requests.lengthBytes[slot];
    const offset = requests.offsetBytes(slot);
    const range = { offset, length };
    const blockBytes = this.#blockBytes;
    const isWhole = offset % blockBytes === 0 && length % blockBytes === 0;
    return this.#order.submit(
      isWhole
        ? new ObjectCall(this, slot, operation, flags, range)
        : new PartialCall(this, slot, operation, flags, range, blockBytes),
    );
  }

  lend(call: ObjectCall, inPieces: boolean, isPrivate: boolean): readonly Uint8Array[] {
    const { iovecs } = this.#requests;
    const isCopied = isPrivate || (iovecs.remaining(call.slot) > 1 && !inPieces);
    const buffers = isCopied ? [this.#copyOf(call)] : viewsOf(iovecs, call.slot);
    call.buffers = buffers;
    call.isCopied = isCopied;
    // A list becomes the method's, which may change it.
    return buffers.length === 1 ? buffers : [...buffers];
  }

  #copyOf(call: ObjectCall): Uint8Array<ArrayBuffer> {
    const copy = new Uint8Array(call.dataBytes);
    if (call.operation === DiskOperation.WRITE) {
      this.#requests.iovecs.gather(call.slot, bufferAddress(copy), copy.length);
    }
    return copy;
  }

  takeBack(call: ObjectCall, isDone: boolean): boolean {
    const { buffers } = call;
    if (buffers === undefined) return true;
    call.buffers = undefined;
    if (!call.isCopied) return takeBackAll(buffers, this.#requests.iovecs, call.slot);
    if (isDone && call.operation === DiskOperation.READ) {
      this.#requests.iovecs.scatter(call.slot, bufferAddress(buffers[0]), call.dataBytes);
    }
    return true;
  }

  onSettled(call: ObjectCall, result: number): void {
    this.#handler.onDiskDone(call.slot, result);
    this.#reactor.requestTurn();
  }

  /** Methods that look at their signal end; others are done when they are done. */
  hasten(nobodyWaits: boolean): void {
    if (nobodyWaits) this.#order.abort((call) => call.caller === this);
  }

  abandon(): void {
    this.#order.abandon((call) => call.caller === this);
  }

  close(): void {}
}

function viewsOf(iovecs: IovecTable, slot: number): Uint8Array<ArrayBuffer>[] {
  const views: Uint8Array<ArrayBuffer>[] = [];
  const { words } = iovecs;
  for (let at = iovecs.firstWord(slot), left = iovecs.remaining(slot); left > 0; left--, at += 4) {
    const bytes = words[at + 2] >>> 0;
    if (bytes > 0) views.push(lendView(joinHalves(words[at], words[at + 1]), bytes));
  }
  return views;
}

/** What `viewsOf` has lent, of a list that is as it was. False: not all is there. */
function takeBackAll(
  views: readonly Uint8Array<ArrayBuffer>[],
  iovecs: IovecTable,
  slot: number,
): boolean {
  const { words } = iovecs;
  let isAll = true;
  let at = iovecs.firstWord(slot);
  for (const view of views) {
    while (words[at + 2] === 0) at += 4;
    if (!takeBack(view, joinHalves(words[at], words[at + 1]))) isAll = false;
    at += 4;
  }
  return isAll;
}
