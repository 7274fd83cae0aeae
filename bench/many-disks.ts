/**
 * A process with a growing number of disks, for `footprint.ts`: each IPC message is the socket path
 * for one more, served on the process's own event loop.
 */
import { listenAt, nullDisk, openDisk, VhostUserBlkServer } from '../src/index.ts';
import { exitNow } from '../src/sys/index.ts';

const DISK_BYTES = 2 ** 30;

process.on('disconnect', () => exitNow(0));
process.on('message', (socketPath: string) => {
  void serve(socketPath).then(() => process.send?.('ready'));
});

async function serve(socketPath: string): Promise<void> {
  const disk = await openDisk(nullDisk(DISK_BYTES));
  const socket = listenAt(socketPath);
  await VhostUserBlkServer.start({ disk, socket, numQueues: 3, threads: 0 });
}
