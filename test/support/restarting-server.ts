/** A server program that is killed and started again at the same socket, with the same image. */
import assert from 'node:assert/strict';
import {
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileAt } from './served-disk.ts';
import { PATIENCE, ServerProgram } from './server-program.ts';

/** See the module's comment. */
export class RestartingServer implements AsyncDisposable {
  readonly #folder: string;
  readonly #place: readonly string[];
  readonly #args: readonly string[];
  readonly socketPath: string;
  readonly imagePath: string;
  #server: ServerProgram | undefined;

  /** @param disk - the option that says what is made of the image. */
  static async start(
    sizeBytes: number,
    args: readonly string[] = [],
    disk = (imagePath: string): string => `--blk-file=${imagePath}`,
  ): Promise<RestartingServer> {
    const server = new RestartingServer(sizeBytes, args, disk);
    await server.start();
    return server;
  }

  private constructor(
    sizeBytes: number,
    args: readonly string[],
    disk: (imagePath: string) => string,
  ) {
    this.#folder = mkdtempSync(join(tmpdir(), 'restarting-'));
    this.#args = args;
    this.socketPath = join(this.#folder, 'socket');
    this.imagePath = join(this.#folder, 'image');
    writeFileSync(this.imagePath, new Uint8Array(sizeBytes));
    // Storage that many tests share may be slow.
    this.#place = [`--socket-path=${this.socketPath}`, disk(this.imagePath), PATIENCE];
  }

  /** End it the hard way. */
  async kill(): Promise<void> {
    await this.#server?.stop('SIGKILL');
  }

  /** @param args - in place of those of the first one. */
  async start(args: readonly string[] = this.#args): Promise<void> {
    this.#server = await ServerProgram.ready([...this.#place, ...args]);
  }

  /** Wait until the server that runs has said it. */
  async logged(pattern: RegExp): Promise<void> {
    await this.#server?.logged(pattern);
  }

  /** What the server that runs has said. */
  get stderr(): string {
    return this.#server?.stderr ?? '';
  }

  /** Have all that was written to the image on stable storage. */
  sync(): void {
    const fd = openSync(this.imagePath, 'r');
    fsyncSync(fd);
    closeSync(fd);
  }

  /**
   * Have another one take its place, which ends it well.
   *
   * @param args - more options of the new one.
   * @returns the new one, that serves.
   */
  async upgrade(args: readonly string[] = []): Promise<ServerProgram> {
    const old = this.#server;
    const all = [...this.#place, ...this.#args, '--take-over', ...args];
    this.#server = await ServerProgram.ready(all);
    const end = await old?.ended;
    assert.equal(end?.code, 0, end?.stderr);
    return this.#server;
  }

  readImage(offsetBytes = 0, lengthBytes = statSync(this.imagePath).size): Uint8Array {
    return readFileAt(this.imagePath, offsetBytes, lengthBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.stop('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
