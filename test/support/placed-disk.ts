/** A disk for tests of the client library: a file, or a back-end with one, and its devices. */
import {
  closeSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { threadStatuses } from '../../fuzz/process-facts.ts';
import { Blkio, type PropertyValue } from '../../src/blkio/index.ts';
import { eventually } from './eventually.ts';
import { readFileAt } from './served-disk.ts';

/** Bytes of a disk, unless a test says otherwise. */
export const DISK_BYTES: number = 1024 * 1024;
const TIME_LIMIT_MS = 60_000;

/** Properties to set, by name. */
export type Settings = Readonly<Record<string, PropertyValue>>;

export interface DiskOptions {
  /** What the disk holds; default: zeros, `DISK_BYTES` of them. */
  readonly content?: Uint8Array;
  readonly sizeBytes?: number;
  /** The back-end offers a disk that can't be written; for files it makes no difference. */
  readonly readOnly?: boolean;
}

/** The other end, for a test. */
export interface Backend {
  readonly pid: number;
  stop(): Promise<unknown>;
}

/** What a disk is made of. */
export interface PlacedDiskParts {
  readonly driver: string;
  /** With the image in it; removed in the end. */
  readonly folder: string;
  /** The property of that name. */
  readonly path: string;
  /** More properties, for all its devices. */
  readonly settings?: Settings;
  readonly backend?: Backend;
  /** Lets go of what is over the image, once all devices are closed. */
  readonly release?: () => void;
}

/** A disk at a place, and devices connected to it. */
export class PlacedDisk implements AsyncDisposable {
  readonly driver: string;
  /** The property of that name. */
  readonly path: string;
  /** Where the host sees what the disk has: the image, or the block device over it. */
  readonly imagePath: string;
  readonly #folder: string;
  readonly #settings: Settings;
  readonly #backend: Backend | undefined;
  readonly #release: () => void;
  readonly #devices: Blkio[] = [];
  readonly #limit: NodeJS.Timeout;

  constructor({ driver, folder, path, settings, backend, release }: PlacedDiskParts) {
    this.driver = driver;
    this.path = path;
    this.imagePath = backend === undefined ? path : imagePathIn(folder);
    this.#folder = folder;
    this.#settings = settings ?? {};
    this.#backend = backend;
    this.#release = release ?? ((): void => {});
    // A request that is never answered fails then.
    this.#limit = setTimeout(() => void backend?.stop(), TIME_LIMIT_MS);
  }

  /** A device that knows the path. It is closed with the disk. */
  device(settings: Settings = {}): Blkio {
    const device = new Blkio(this.driver);
    this.#devices.push(device);
    const all: Settings = { path: this.path, ...this.#settings, ...settings };
    for (const [name, value] of Object.entries(all)) device.set(name, value);
    return device;
  }

  async connected(settings?: Settings): Promise<Blkio> {
    const device = this.device(settings);
    await device.connect();
    return device;
  }

  /** @param settings - to set before connecting. @param later - and after. */
  async started(settings?: Settings, later: Settings = {}): Promise<Blkio> {
    const device = await this.connected(settings);
    for (const [name, value] of Object.entries(later)) device.set(name, value);
    await device.start();
    return device;
  }

  /** End the back-end the hard way, at once; wait to know that it is gone. */
  async killBackend(): Promise<void> {
    process.kill(this.#backendPid, 'SIGKILL');
    await this.#backend?.stop();
  }

  /** Have the back-end answer nothing, until `resumeBackend`. */
  async pauseBackend(): Promise<void> {
    const pid = this.#backendPid;
    process.kill(pid, 'SIGSTOP');
    await eventually('all threads of the back-end stand still', () =>
      [...threadStatuses(pid, 'State').values()].every((state) => state.startsWith('T')),
    );
  }

  resumeBackend(): void {
    process.kill(this.#backendPid, 'SIGCONT');
  }

  get #backendPid(): number {
    if (this.#backend === undefined) throw new Error('there is no back-end');
    return this.#backend.pid;
  }

  /** What the host has in the file. */
  readImage(offsetBytes = 0, lengthBytes = statSync(imagePathIn(this.#folder)).size): Uint8Array {
    return readFileAt(this.imagePath, offsetBytes, lengthBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#limit);
    for (const device of this.#devices) device.close();
    await this.#backend?.stop();
    this.#release();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** The image in a disk's folder. */
export function imagePathIn(folder: string): string {
  return join(folder, 'image');
}

/** A new folder with an image in it. */
export function imageFolderIn(parent: string, { content, sizeBytes }: DiskOptions): string {
  const folder = mkdtempSync(join(parent, 'blkio-place-'));
  const path = imagePathIn(folder);
  const fd = openSync(path, 'w');
  if (content !== undefined) writeSync(fd, content);
  closeSync(fd);
  truncateSync(path, sizeBytes ?? content?.length ?? DISK_BYTES);
  return folder;
}
