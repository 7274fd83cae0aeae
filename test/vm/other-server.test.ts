/**
 * A busy guest is taken over from qemu-storage-daemon, without a restart: the daemon finishes what
 * it has taken, this server goes on, also after being killed. (There is no way back: QEMU refuses a
 * back-end that has fewer memory slots than the one before, and the daemon has fewer.)
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerProgram } from '../support/server-program.ts';
import { startStorageDaemon, storageDaemonRequirements } from '../support/storage-daemon.ts';
import { SET_UP } from '../support/vm-server.ts';
import { bootBusyGuest } from './busy-guest.ts';
import { DiskImage } from './disk-image.ts';
import { guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
const NUM_QUEUES = 2;
/** The guest gets something done meanwhile. */
const RUN_MS = 500;
const skip = guestRequirements() ?? storageDaemonRequirements() ?? false;

test('a busy guest moves here from qemu-storage-daemon', { skip }, async (t) => {
  using image = new DiskImage(64 * MIB);
  const socketPath = join(image.folder, 'socket');
  const place = { socketPath, imagePath: image.path, numQueues: NUM_QUEUES };
  await using daemon = await startStorageDaemon(place);
  const args = [
    `--socket-path=${socketPath}`,
    `--blk-file=${image.path}`,
    ...[`--num-queues=${NUM_QUEUES}`, '--log-level=debug'],
  ];
  let server: ServerProgram | undefined;
  const serveHere = async (): Promise<void> => {
    server = await ServerProgram.ready(args);
    await server.logged(SET_UP);
    await sleep(RUN_MS);
  };
  const disk = { socketPath, numQueues: NUM_QUEUES, reconnectSeconds: 1 };
  try {
    const moveHere = async (): Promise<void> => {
      await sleep(RUN_MS);
      await daemon.stop();
      await serveHere();
      await server?.stop('SIGKILL');
      await serveHere();
    };
    await bootBusyGuest(disk, moveHere, t.signal);
    const end = await server?.stop();
    assert.match(end?.stderr ?? '', /disconnected: .*\bwrites \d+/);
  } finally {
    await server?.stop('SIGKILL');
  }
  image.assertCleanExt4();
});
