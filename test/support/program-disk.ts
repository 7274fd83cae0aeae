/** A disk as the program serves it, for as long as a test uses it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { AsyncQueue } from '../../src/blkio/index.ts';
import { vhostUserDevice } from './client-device.ts';
import { type ProgramRun, ServerProgram } from './server-program.ts';

/** Serve a disk as people write it, use it, and end the program, which has to end as it should. */
export async function withProgramDisk(
  folder: string,
  disk: string,
  use: (queue: AsyncQueue, server: ServerProgram) => Promise<void>,
  isReadOnly = false,
): Promise<ProgramRun> {
  const socketPath = join(folder, 'disk.sock');
  const args = ['--socket-path', socketPath, '--disk', disk];
  await using server = await ServerProgram.ready(args);
  {
    using device = vhostUserDevice(socketPath, { 'read-only': isReadOnly });
    await device.connect();
    await device.start();
    await use(device.asyncQueue(0), server);
  }
  const end = await server.stop();
  assert.equal(end.code, 0, end.stderr);
  return end;
}

/** What a disk has somewhere. */
export async function readBytes(
  queue: AsyncQueue,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await queue.read(offset, bytes);
  return bytes;
}
