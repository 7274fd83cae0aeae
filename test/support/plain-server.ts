/**
 * A server in this process whose disk can read, write and flush, and nothing else, as those of many
 * back-ends: it offers neither WRITE_ZEROES nor DISCARD.
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
  DiskOperation,
  type DiskRequestHandler,
  type DiskRequests,
  openDisk,
} from '../../src/storage/index.ts';
import type { Reactor } from '../../src/sys/index.ts';
import { readFileAt } from './served-disk.ts';

/** A disk over another, which counts the bytes that are written. */
class PlainDisk implements Disk {
  readonly info: DiskInfo;
  readonly description = 'a disk for reads and writes';
  bytesWritten = 0;
  readonly #disk: Disk;

  constructor(disk: Disk) {
    this.#disk = disk;
    this.info = { ...disk.info, canDiscard: false, canWriteZeroes: false };
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const channel = this.#disk.openChannel(reactor, requests, handler);
    const start = (slot: number): number => {
      const operation = requests.operation[slot];
      if (operation > DiskOperation.FLUSH) throw new Error('a request that was not offered');
      if (operation === DiskOperation.WRITE) this.bytesWritten += requests.lengthBytes[slot];
      return channel.start(slot);
    };
    return { start, close: () => channel.close() };
  }

  currentSizeBytes(): number {
    return this.info.sizeBytes;
  }

  share(): DiskHandle {
    return this.#disk.share();
  }

  close(): void {
    this.#disk.close();
  }
}

/** See the module's comment. */
export class PlainServer implements AsyncDisposable {
  readonly socketPath: string;
  readonly #folder: string;
  readonly #disk: PlainDisk;
  readonly #server: VhostUserBlkServer;

  /** Serve a new image. */
  static async start(content: Uint8Array): Promise<PlainServer> {
    const folder = mkdtempSync(join(tmpdir(), 'plain-server-'));
    const path = join(folder, 'image');
    writeFileSync(path, content);
    const disk = new PlainDisk(openDisk({ source: { kind: 'file', path } }));
    const socket = listenAt(join(folder, 'socket'));
    // On this thread: no other knows this class.
    const server = await VhostUserBlkServer.start({ disk, socket, threads: 0 });
    return new PlainServer(folder, disk, server);
  }

  private constructor(folder: string, disk: PlainDisk, server: VhostUserBlkServer) {
    this.#folder = folder;
    this.socketPath = join(folder, 'socket');
    this.#disk = disk;
    this.#server = server;
  }

  get bytesWritten(): number {
    return this.#disk.bytesWritten;
  }

  readImage(sizeBytes: number): Uint8Array {
    return readFileAt(join(this.#folder, 'image'), 0, sizeBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close();
    this.#disk.close();
    rmSync(this.#folder, { recursive: true });
  }
}
