/** A disk object whose calls a test answers one by one. */
import assert from 'node:assert/strict';
import type { DiskObject, ObjectRequest } from '../../src/storage/index.ts';
import { until } from './within.ts';

/** A call that has come. */
export interface HeldCall {
  readonly method: string;
  readonly offset: number;
  readonly length: number;
  readonly buffers: readonly Uint8Array[];
  readonly request: ObjectRequest;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** See the module's comment. */
export class HeldObject implements DiskObject {
  readonly sizeBytes = 2 ** 20;
  /** Calls that wait for an answer, oldest first. */
  readonly calls: HeldCall[] = [];

  read(buffer: Uint8Array, offset: number, request: ObjectRequest): Promise<void> {
    return this.#hold('read', offset, buffer.length, request, [buffer]);
  }

  write(buffer: Uint8Array, offset: number, request: ObjectRequest): Promise<void> {
    return this.#hold('write', offset, buffer.length, request, [buffer]);
  }

  flush(request: ObjectRequest): Promise<void> {
    return this.#hold('flush', 0, 0, request);
  }

  discard(offset: number, length: number, request: ObjectRequest): Promise<void> {
    return this.#hold('discard', offset, length, request);
  }

  writeZeroes(offset: number, length: number, request: ObjectRequest): Promise<void> {
    return this.#hold('writeZeroes', offset, length, request);
  }

  #hold(
    method: string,
    offset: number,
    length: number,
    request: ObjectRequest,
    buffers: readonly Uint8Array[] = [],
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.calls.push({ method, offset, length, buffers, request, resolve, reject });
    });
  }

  /** The calls that have come, as `write 512`. */
  get names(): string[] {
    return this.calls.map(({ method, offset }) => `${method} ${offset}`);
  }

  /** Wait until these calls have come, and a moment longer: there are to be no others. */
  async expect(...names: readonly string[]): Promise<void> {
    await until(
      () => this.calls.length >= names.length,
      () => `there are ${this.names.join(', ')}, not ${names.join(', ')}`,
    );
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(this.names, names);
  }

  /** Answer a call: the oldest, or that with the name. Returns it. */
  let(name?: string): HeldCall {
    const call = this.#take(name);
    call.resolve();
    return call;
  }

  fail(reason: unknown, name?: string): HeldCall {
    const call = this.#take(name);
    call.reject(reason);
    return call;
  }

  #take(name: string | undefined): HeldCall {
    const index = name === undefined ? 0 : this.names.indexOf(name);
    const [call] = this.calls.splice(index, 1);
    assert.ok(index >= 0 && call !== undefined, `no call ${name}: ${this.names.join(', ')}`);
    return call;
  }
}
