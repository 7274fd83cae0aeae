/** Requests in the order of their arrival. Each knows its neighbours: a set would hash every one. */
import type { ObjectCall } from './object-call.ts';

/** See the module's comment. A request is in one list at most. */
export class CallList {
  #first: ObjectCall | undefined;
  #last: ObjectCall | undefined;

  add(call: ObjectCall): void {
    call.isListed = true;
    call.previous = this.#last;
    if (this.#last === undefined) this.#first = call;
    else this.#last.next = call;
    this.#last = call;
  }

  /** False: it was not there. */
  delete(call: ObjectCall): boolean {
    if (!call.isListed) return false;
    const { previous, next } = call;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    call.previous = undefined;
    call.next = undefined;
    call.isListed = false;
    return true;
  }

  /** All of them, oldest first. What `visit` takes out may be itself. */
  forEach(visit: (call: ObjectCall) => void): void {
    for (let call = this.#first; call !== undefined; ) {
      const { next } = call;
      visit(call);
      call = next;
    }
  }
}
