/** A program that closes a disk which never is closed: its argument is for how long, in milliseconds. */
import { createCliLogger } from '../../src/cli/cli-logger.ts';
import { closeDisk } from '../../src/cli/disk-server.ts';
import { openDisk } from '../../src/storage/index.ts';

const disk = await openDisk({
  sizeBytes: 512,
  read() {},
  close: () => new Promise<void>(() => {}),
});
process.exit(await closeDisk(disk, createCliLogger('error', 'text'), Number(process.argv[2])));
