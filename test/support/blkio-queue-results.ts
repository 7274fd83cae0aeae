/** What came of requests: a queue's completions, collected for assertions. */
import assert from 'node:assert/strict';
import { type BlkioError, CompletionList, type Queue } from '../../src/blkio/index.ts';
import { errnoName } from '../../src/sys/index.ts';

/** Far above what any request takes: one that is lost shall fail the test, not stop it. */
export const WAIT_MS = 20_000;

/** A request's end. */
export interface Completion {
  readonly result: number;
  readonly userData: unknown;
  readonly message: string | undefined;
}

/** Wait for all that is outstanding. In the order of completion. */
export function drain(queue: Queue): Completion[] {
  const list = new CompletionList(64);
  const all: Completion[] = [];
  while (queue.outstanding > 0) {
    queue.doIo(list, Math.min(queue.outstanding, list.capacity), list.capacity, WAIT_MS);
    for (let at = 0; at < list.count; at++) {
      const [result, userData] = [list.results[at], list.userData[at]];
      all.push({ result, userData, message: list.messages[at] });
    }
  }
  return all;
}

/** `OK`, or the errno's name by libblkio's choice of names. */
export function resultName(result: number): string {
  return result === 0 ? 'OK' : errnoName(-result).replace('EOPNOTSUPP', 'ENOTSUP');
}

/** Make one request, wait for it, and say what came of it. */
export function resultOf(queue: Queue, request: (queue: Queue) => void): string {
  request(queue);
  const [completion, ...others] = drain(queue);
  assert.equal(others.length, 0, 'one request has one completion');
  return resultName(completion.result);
}

/** Make requests, wait for all, and fail unless each succeeded. */
export function doAll(queue: Queue, request: (queue: Queue) => void): Completion[] {
  request(queue);
  const all = drain(queue);
  for (const { result, userData, message } of all) {
    assert.equal(resultName(result), 'OK', `${String(userData)}: ${message ?? ''}`);
  }
  return all;
}

/** Read a range into a buffer of its own. */
export function readBytes(queue: Queue, offsetBytes: number, lengthBytes: number): Uint8Array {
  const buffer = new Uint8Array(lengthBytes);
  doAll(queue, () => queue.read(offsetBytes, buffer));
  return buffer;
}

/** For `assert.throws` and `assert.rejects`: an error of the library with a code. */
export function withCode(code: string): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof Error, String(error));
    assert.equal(error.name, 'BlkioError', error.stack);
    assert.equal((error as BlkioError).code, code, error.message);
    assert.ok(!error.message.includes('\n') && error.message.length > 0, 'one line');
    return true;
  };
}
