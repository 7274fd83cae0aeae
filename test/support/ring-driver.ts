/** Drives an io_uring by hand: collects completions by their user data. */
import assert from 'node:assert/strict';
import type { CompletionSink, IoUring } from '../../src/sys/index.ts';
import { Op } from '../../src/sys/io-uring/constants.ts';

const GRACE_MS = 10_000;

/** Completions in the order they were delivered. */
export class CompletionLog implements CompletionSink {
  readonly tokens: number[] = [];
  readonly results = new Map<number, number>();

  onCompletion(userLow: number, _userHigh: number, result: number): void {
    this.tokens.push(userLow);
    this.results.set(userLow, result);
  }
}

/** Submit, wait and reap until the log has `count` completions. */
export function reapUntil(ring: IoUring, log: CompletionLog, count: number): void {
  const deadlineMs = performance.now() + GRACE_MS;
  while (log.tokens.length < count) {
    assert.ok(performance.now() < deadlineMs, `${log.tokens.length} of ${count} completions`);
    ring.submitAndWait(100);
    ring.reap(log);
  }
}

/** Queue an operation that does nothing. */
export function pushNop(ring: IoUring, token: number): void {
  ring.push(Op.NOP, 0, -1, 0, 0, 0, 0, 0, 0, token, 0);
}

/** Queue a read or write of one piece of memory. */
export function pushTransfer(
  ring: IoUring,
  operation: typeof Op.READ | typeof Op.WRITE,
  file: { readonly fd: number; readonly sqeFlags?: number; readonly offset: number },
  memory: { readonly address: number; readonly bytes: number },
  token: number,
): void {
  const { address, bytes } = memory;
  const high = (address / 2 ** 32) | 0;
  const flags = file.sqeFlags ?? 0;
  ring.push(operation, flags, file.fd, file.offset, 0, address | 0, high, bytes, 0, token, 0);
}
