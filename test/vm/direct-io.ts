/** Whether images in the temporary folder can be used past the page cache. */
import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why `--cache=none` cannot be tested here, or `undefined`. */
export function directIoRequirement(): string | undefined {
  const path = join(tmpdir(), `direct-io-${process.pid}-${performance.now()}`);
  try {
    closeSync(openSync(path, constants.O_CREAT | constants.O_RDWR | constants.O_DIRECT));
    return undefined;
  } catch (error) {
    return `${tmpdir()} has no direct I/O (set TMPDIR to a folder on ext4 or XFS): ${String(error)}`;
  } finally {
    rmSync(path, { force: true });
  }
}
