/** Sleeping until a descriptor is readable, as a thread without an event loop does: in poll(2). */
import assert from 'node:assert/strict';
import { Epoll } from '../../src/sys/constants.ts';
import { pollDescriptor } from '../../src/sys/poll.ts';

/** Only a wake-up that is lost takes so long. */
export const HANG_MS = 20_000;

/** Fails when it would sleep for ever. */
export function awaitReadable(fd: number): void {
  assert.ok(pollDescriptor(fd, Epoll.IN, HANG_MS), 'a wake-up was lost');
}

/** Whether it becomes readable within so many milliseconds. */
export function becomesReadable(fd: number, timeoutMs: number): boolean {
  return pollDescriptor(fd, Epoll.IN, timeoutMs);
}
