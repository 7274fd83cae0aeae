/** Devices of the client library over vhost-user, and what is expected of their errors. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  type AsyncQueue,
  Blkio,
  BlkioError,
  type BlkioEvents,
  type PropertyValue,
} from '../../src/blkio/index.ts';

/** Far below the time limit of a test, far above what a busy machine needs for anything bounded. */
const BOUND_MS = 60_000;

/** A device that is not connected yet. */
export function vhostUserDevice(
  socketPath: string,
  properties: Readonly<Record<string, PropertyValue>> = {},
): Blkio {
  const device = new Blkio('virtio-blk-vhost-user');
  device.set('path', socketPath);
  for (const [name, value] of Object.entries(properties)) device.set(name, value);
  return device;
}

/** A started device and its only queue. */
export async function startedDevice(
  socketPath: string,
  properties: Readonly<Record<string, PropertyValue>> = {},
): Promise<{ device: Blkio; queue: AsyncQueue }> {
  const device = vhostUserDevice(socketPath, properties);
  await device.connect();
  await device.start();
  return { device, queue: device.asyncQueue(0) };
}

/** The same promise, but one that is not settled in bounded time rejects. */
export async function bounded<Result>(promise: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${BOUND_MS} ms`)), BOUND_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What something fails with, in bounded time: a `BlkioError` of one line. */
export async function failureOf(promise: Promise<unknown>): Promise<BlkioError> {
  try {
    await bounded(promise);
  } catch (error) {
    if (!(error instanceof BlkioError)) throw error;
    assert.doesNotMatch(error.message, /\n/);
    assert.ok(error.errno > 0, `errno of ${error.code}`);
    return error;
  }
  throw new Error('it did not fail');
}

/** Fails unless the error's code is this. */
export async function assertFails(promise: Promise<unknown>, code: string): Promise<BlkioError> {
  const error = await failureOf(promise);
  assert.equal(error.code, code, error.message);
  return error;
}

/** The arguments of the next event. */
export async function nextEvent<Name extends keyof BlkioEvents>(
  device: Blkio,
  name: Name,
): Promise<BlkioEvents[Name]> {
  const args: unknown = await once(device, name, { signal: AbortSignal.timeout(BOUND_MS) });
  return args as BlkioEvents[Name];
}
