/**
 * A disk served by the program in a folder of its own, and drivers connected to it: what most tests
 * over the socket start with.
 *
 * A test that waits for an answer that never comes would wait for ever, and so would the file it
 * is in. So every served disk has a time limit: when that is up, everything is torn down, and what
 * the test waits for fails.
 */
import {
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AttachedHome, createReactor, type EngineName, type Reactor } from '../../src/sys/index.ts';
import {
  BlockDriver,
  DriverConnection,
  type DriverConnectionOptions,
} from '../../src/testing/index.ts';
import { missingEngine } from './reactors.ts';
import { ServerProgram, type ServerProgramOptions } from './server-program.ts';

/** The server's engines, with the reason where one is missing here. */
export const SERVER_ENGINES: readonly { engine: EngineName; skip: string | false }[] = (
  ['io_uring', 'epoll'] as const
).map((engine) => ({ engine, skip: missingEngine(engine) ?? false }));

const DEFAULT_SIZE_BYTES = 16 * 1024 * 1024;
const TIME_LIMIT_MS = 120_000;

/** How to connect, but for what the disk knows itself. */
export type DriverOptions = Omit<DriverConnectionOptions, 'reactor' | 'socketPath'>;

export interface ServedDiskOptions {
  /** Default: what the environment says. */
  readonly engine?: EngineName;
  /** More options of the program. With one for the disk there is no image. */
  readonly args?: readonly string[];
  /** The image's bytes; default: 16 MiB of zeros, no space allocated. */
  readonly content?: Uint8Array;
  readonly sizeBytes?: number;
  readonly program?: ServerProgramOptions;
}

/** Drivers of a back-end at a socket, on one reactor. */
export class DriverHost {
  readonly reactor: Reactor;
  readonly socketPath: string;
  readonly #home: AttachedHome;
  readonly #closers: (() => void)[] = [];
  #isClosed = false;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
    this.reactor = createReactor('attached').reactor;
    this.#home = new AttachedHome(this.reactor);
  }

  /** Connect a driver with requests as promises. */
  async connect(options: DriverOptions = {}): Promise<BlockDriver> {
    const { reactor, socketPath } = this;
    const driver = await BlockDriver.open({ reactor, socketPath, ...options });
    return this.#keep(driver);
  }

  /** Connect, and leave the rings to the caller. */
  async connectRings(options: DriverOptions = {}): Promise<DriverConnection> {
    const { reactor, socketPath } = this;
    const connection = await DriverConnection.open({ reactor, socketPath, ...options });
    return this.#keep(connection);
  }

  #keep<Closable extends { close(): void }>(driver: Closable): Closable {
    const close = driver.close.bind(driver);
    let isOpen = true;
    // The test may close it itself, and then it is closed no more.
    driver.close = () => {
      if (isOpen) close();
      isOpen = false;
    };
    if (this.#isClosed) driver.close();
    this.#closers.push(() => driver.close());
    return driver;
  }

  /** Close all drivers. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const close of this.#closers) close();
    this.#home.close();
    this.reactor[Symbol.dispose]();
  }
}

/** See the module's comment. */
export class ServedDisk implements AsyncDisposable {
  readonly folder: string;
  readonly imagePath: string;
  readonly socketPath: string;
  readonly server: ServerProgram;
  readonly #host: DriverHost;
  readonly #limit: NodeJS.Timeout;

  static async start(options: ServedDiskOptions = {}): Promise<ServedDisk> {
    const folder = mkdtempSync(join(tmpdir(), 'served-disk-'));
    const imagePath = join(folder, 'image');
    const socketPath = join(folder, 'socket');
    try {
      const args = [`--socket-path=${socketPath}`, ...(options.args ?? [])];
      if (options.engine !== undefined) args.push(`--engine=${options.engine}`);
      if (!args.some((arg) => /^--(disk|blk-file)=/.test(arg))) {
        makeImage(imagePath, options);
        args.push(`--blk-file=${imagePath}`);
      }
      const server = await ServerProgram.ready(args, options.program);
      return new ServedDisk(folder, server);
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  private constructor(folder: string, server: ServerProgram) {
    this.folder = folder;
    this.imagePath = join(folder, 'image');
    this.socketPath = join(folder, 'socket');
    this.server = server;
    this.#host = new DriverHost(this.socketPath);
    this.#limit = setTimeout(() => {
      process.stderr.write(`time is up: the server is stopped. It said:\n${server.stderr}`);
      this.#host.close();
      void server.stop('SIGKILL');
    }, TIME_LIMIT_MS);
  }

  connect(options?: DriverOptions): Promise<BlockDriver> {
    return this.#host.connect(options);
  }

  connectRings(options?: DriverOptions): Promise<DriverConnection> {
    return this.#host.connectRings(options);
  }

  get reactor(): Reactor {
    return this.#host.reactor;
  }

  /** What the image file holds. */
  readImage(offsetBytes = 0, lengthBytes = statSync(this.imagePath).size): Uint8Array {
    return readFileAt(this.imagePath, offsetBytes, lengthBytes);
  }

  /** Bytes the image takes up in its file system. */
  get allocatedBytes(): number {
    // Allocation may be put off until the data is written out.
    const fd = openSync(this.imagePath, 'r');
    fsyncSync(fd);
    closeSync(fd);
    return statSync(this.imagePath).blocks * 512;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#limit);
    this.#host.close();
    await this.server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function makeImage(path: string, options: ServedDiskOptions): void {
  writeFileSync(path, options.content ?? new Uint8Array(0));
  const sizeBytes = options.sizeBytes ?? options.content?.length ?? DEFAULT_SIZE_BYTES;
  truncateSync(path, sizeBytes);
}

/** Part of a file. */
export function readFileAt(path: string, offsetBytes: number, lengthBytes: number): Uint8Array {
  const fd = openSync(path, 'r');
  const bytes = new Uint8Array(lengthBytes);
  const count = readSync(fd, bytes, 0, lengthBytes, offsetBytes);
  closeSync(fd);
  return bytes.subarray(0, count);
}

/** Change part of a file. */
export function writeFileAt(path: string, offsetBytes: number, bytes: Uint8Array): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.length, offsetBytes);
  closeSync(fd);
}
