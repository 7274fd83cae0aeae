/** Devices that connect to a fake back-end and start, message by message. */
import assert from 'node:assert/strict';
import type { Blkio } from '../../src/blkio/index.ts';
import { vhostUserDevice } from './client-device.ts';
import { FakeBackend, type FakeBackendOptions } from './fake-backend.ts';

/** Connect, and start. */
export async function setUp(device: Blkio): Promise<void> {
  await device.connect();
  await device.start();
}

/** Names of the messages from the first to the one that makes the ring run. */
export async function messagesOfSetUp(
  options: FakeBackendOptions = {},
): Promise<readonly string[]> {
  using backend = new FakeBackend(options);
  using device = vhostUserDevice(backend.socketPath);
  await setUp(device);
  return [...backend.messages];
}

/** Run `body` for each message that is answered, each time with a new back-end. */
export async function withEachMessage(
  body: (backend: FakeBackend, at: number, message: string) => Promise<void>,
): Promise<void> {
  const names = await messagesOfSetUp();
  assert.ok(names.length > 15, names.join());
  for (const [at, name] of names.entries()) {
    // Before acknowledgements are agreed on, only questions have answers.
    const isAnswered = name.startsWith('GET_') || at > names.indexOf('SET_PROTOCOL_FEATURES');
    if (!isAnswered) continue;
    using backend = new FakeBackend();
    await body(backend, at, name);
  }
}
