/** Completions that a queue has handed out: arrays that are filled anew by each call. */

/** See the module's comment. */
export class CompletionList {
  readonly capacity: number;
  /** How many there are. */
  count = 0;
  /** 0, or a negative errno. */
  readonly results: Int32Array;
  /** What was given with the request. */
  readonly userData: unknown[];
  /** Why a request failed, where there is more to say than its errno. */
  readonly messages: (string | undefined)[];

  /** @param capacity - most completions it can take at a time. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.results = new Int32Array(capacity);
    this.userData = new Array<unknown>(capacity).fill(undefined);
    this.messages = new Array<string | undefined>(capacity).fill(undefined);
  }

  /** Forget all. */
  clear(): void {
    this.count = 0;
  }

  add(result: number, userData: unknown, message: string | undefined): void {
    const at = this.count++;
    this.results[at] = result;
    this.userData[at] = userData;
    this.messages[at] = message;
  }
}
