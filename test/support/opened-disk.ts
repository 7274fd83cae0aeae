/** A disk that is open for one test, and the way into it. */

import type { Disk } from '../../src/storage/index.ts';
import { type DiskAccess, type DiskLike, openAccess, openDisk } from '../../src/storage/index.ts';
import type { Logger } from '../../src/sys/index.ts';

/** See the module's comment. */
export class OpenedDisk implements AsyncDisposable {
  readonly disk: Disk;
  readonly access: DiskAccess;
  /** What it has logged, a line each: `warn: ...`. */
  readonly log: string[] = [];

  private constructor(disk: Disk) {
    this.disk = disk;
    const line =
      (level: string) =>
      (message: string): void => {
        this.log.push(`${level}: ${message}`);
      };
    const logger: Logger = {
      debug: line('debug'),
      info: line('info'),
      warn: line('warn'),
      error: line('error'),
    };
    disk.useLogger?.(logger);
    this.access = openAccess(disk);
  }

  static async open(plan: DiskLike): Promise<OpenedDisk> {
    return new OpenedDisk(await openDisk(plan));
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const buffer = Buffer.alloc(length, 0xee);
    await this.access.read(buffer, offset);
    return buffer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.access.close();
    await this.disk.close();
  }
}
