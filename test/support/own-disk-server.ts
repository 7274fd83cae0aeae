/**
 * A server in this process for a disk that a test has made up, over an image: what the disk does not
 * do itself, the image's does.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listenAt, VhostUserBlkServer } from '../../src/exports/index.ts';
import {
  type Disk,
  type DiskChannel,
  type DiskHandle,
  type DiskInfo,
  type DiskRequestHandler,
  type DiskRequests,
  openFileDisk,
} from '../../src/storage/index.ts';
import type { Reactor } from '../../src/sys/index.ts';
import { readFileAt } from './served-disk.ts';

/** A disk over another. */
export abstract class OwnDisk implements Disk {
  readonly info: DiskInfo;
  abstract readonly description: string;
  readonly kind = 'own';
  readonly below: readonly Disk[];
  protected readonly image: Disk;

  /** @param info - what it says of itself, where that is not what the other says. */
  constructor(below: Disk, info: Partial<DiskInfo> = {}) {
    this.below = [below];
    this.image = below;
    this.info = { ...below.info, ...info };
  }

  abstract openChannel(
    reactor: Reactor,
    requests: DiskRequests,
    handler: DiskRequestHandler,
  ): DiskChannel;

  currentSizeBytes(): number {
    return this.info.sizeBytes;
  }

  share(): DiskHandle {
    return this.image.share();
  }

  close(): void | Promise<void> {
    return this.image.close();
  }
}

/** See the module's comment. */
export class OwnDiskServer<OneDisk extends OwnDisk> implements AsyncDisposable {
  readonly socketPath: string;
  readonly disk: OneDisk;
  readonly #folder: string;
  readonly #server: VhostUserBlkServer;

  /** Serve a new image. */
  static async start<OneDisk extends OwnDisk>(
    content: Uint8Array,
    diskOver: (image: Disk) => OneDisk,
  ): Promise<OwnDiskServer<OneDisk>> {
    const folder = mkdtempSync(join(tmpdir(), 'own-disk-'));
    const path = join(folder, 'image');
    writeFileSync(path, content);
    const disk = diskOver(openFileDisk({ path }));
    const socket = listenAt(join(folder, 'socket'));
    // On this thread: no other knows the disk's class.
    const server = await VhostUserBlkServer.start({ disk, socket, threads: 0 });
    return new OwnDiskServer(folder, disk, server);
  }

  private constructor(folder: string, disk: OneDisk, server: VhostUserBlkServer) {
    this.#folder = folder;
    this.socketPath = join(folder, 'socket');
    this.disk = disk;
    this.#server = server;
  }

  readImage(sizeBytes: number): Uint8Array {
    return readFileAt(join(this.#folder, 'image'), 0, sizeBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close();
    await this.disk.close();
    rmSync(this.#folder, { recursive: true });
  }
}
