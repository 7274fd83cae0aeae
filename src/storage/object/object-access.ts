/** The way into a disk object for code of this thread: its methods, in the object's order. */
import { PENDING } from '../../sys/index.ts';
import { type AccessRequest, failure, RequestingAccess } from '../access/requesting-access.ts';
import type { Disk } from '../disk.ts';
import { DiskOperation } from '../disk-requests.ts';
import type { Settled } from './disk-object.ts';
import { ObjectCall, type ObjectCaller } from './object-call.ts';
import type { RequestOrder } from './request-order.ts';

/** See the module's comment. */
export class ObjectAccess extends RequestingAccess {
  readonly #order: RequestOrder;
  #underWay = 0;

  constructor(disk: Disk, order: RequestOrder) {
    super(disk);
    this.#order = order;
  }

  protected request(request: AccessRequest): Settled {
    const { operation, flags, options } = request;
    const caller = new AccessCaller(request, () => this.#ended());
    const result = this.#order.submit(
      new ObjectCall(caller, 0, operation, flags, request, options),
    );
    if (result === 0) return undefined;
    if (result !== PENDING) throw failure(request, result);
    this.#underWay += 1;
    return caller.promise();
  }

  #ended(): void {
    this.#underWay -= 1;
    this.tellIfIdle();
  }

  protected get isIdle(): boolean {
    return this.#underWay === 0;
  }

  close(): void {}
}

/** Waits for one request. Its buffer is the object's as long as the request takes. */
class AccessCaller implements ObjectCaller {
  readonly #request: AccessRequest;
  readonly #onEnd: () => void;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor(request: AccessRequest, onEnd: () => void) {
    this.#request = request;
    this.#onEnd = onEnd;
  }

  promise(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  lend(call: ObjectCall, _inPieces: boolean, isPrivate: boolean): readonly Uint8Array[] {
    const { buffer = new Uint8Array(0) } = this.#request;
    if (!isPrivate) return [buffer];
    const copy = new Uint8Array(buffer);
    call.buffers = [copy];
    return call.buffers;
  }

  takeBack(call: ObjectCall, isDone: boolean): boolean {
    const { buffers, operation } = call;
    call.buffers = undefined;
    const isRead = operation === DiskOperation.READ;
    if (isDone && isRead && buffers !== undefined) this.#request.buffer?.set(buffers[0]);
    return true;
  }

  onSettled(_call: ObjectCall, result: number): void {
    this.#onEnd();
    if (result === 0) this.#resolve();
    else this.#reject(failure(this.#request, result));
  }
}
