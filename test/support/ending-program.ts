/** A program that serves a disk and then ends as its argument says, without closing anything. */
import { listenAt, nullDisk, openDisk, VhostUserBlkServer } from '../../src/index.ts';

const [socketPath, ending] = process.argv.slice(2);
const disk = await openDisk(nullDisk(2 ** 20));
await VhostUserBlkServer.start({ disk, socket: listenAt(socketPath), numQueues: 2, threads: 2 });
if (ending === 'throw') throw new Error('the program is wrong');
process.exit(3);
