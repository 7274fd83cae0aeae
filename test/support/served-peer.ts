/** A disk served by qemu-storage-daemon in a folder of its own, and our drivers connected to it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlockDriver, DriverConnection } from '../../src/testing/index.ts';
import { DriverHost, type DriverOptions } from './served-disk.ts';
import {
  type StorageDaemon,
  type StorageDaemonOptions,
  startStorageDaemon,
} from './storage-daemon.ts';

const DEFAULT_SIZE_BYTES = 16 * 1024 * 1024;
const TIME_LIMIT_MS = 120_000;

export interface ServedPeerOptions extends Omit<StorageDaemonOptions, 'socketPath'> {
  /** The image's bytes; default: 16 MiB of zeros. Not with `imagePath`. */
  readonly content?: Uint8Array;
}

/** See the module's comment. */
export class ServedPeer implements AsyncDisposable {
  readonly imagePath: string;
  readonly socketPath: string;
  readonly #folder: string;
  readonly #daemon: StorageDaemon;
  readonly #host: DriverHost;
  readonly #limit: NodeJS.Timeout;

  static async start(options: ServedPeerOptions = {}): Promise<ServedPeer> {
    const folder = mkdtempSync(join(tmpdir(), 'served-peer-'));
    const { content = new Uint8Array(DEFAULT_SIZE_BYTES), ...daemonOptions } = options;
    const imagePath = options.imagePath ?? join(folder, 'image');
    const socketPath = join(folder, 'socket');
    try {
      if (options.imagePath === undefined) writeFileSync(imagePath, content);
      const daemon = await startStorageDaemon({ ...daemonOptions, imagePath, socketPath });
      return new ServedPeer(folder, imagePath, daemon);
    } catch (error) {
      rmSync(folder, { recursive: true });
      throw error;
    }
  }

  private constructor(folder: string, imagePath: string, daemon: StorageDaemon) {
    this.#folder = folder;
    this.imagePath = imagePath;
    this.socketPath = join(folder, 'socket');
    this.#daemon = daemon;
    this.#host = new DriverHost(this.socketPath);
    // What a test waits for in vain fails then.
    this.#limit = setTimeout(() => this.#host.close(), TIME_LIMIT_MS);
  }

  connect(options?: DriverOptions): Promise<BlockDriver> {
    return this.#host.connect(options);
  }

  connectRings(options?: DriverOptions): Promise<DriverConnection> {
    return this.#host.connectRings(options);
  }

  /** End the daemon the hard way. */
  kill(): void {
    process.kill(this.#daemon.pid, 'SIGKILL');
  }

  readImage(): Uint8Array {
    return readFileSync(this.imagePath);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#limit);
    this.#host.close();
    await this.#daemon.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
