/** A server program that is killed and started again at the same socket, with the same image. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileAt } from './served-disk.ts';
import { ServerProgram } from './server-program.ts';

/** See the module's comment. */
export class RestartingServer implements AsyncDisposable {
  readonly #folder: string;
  readonly #args: readonly string[];
  readonly socketPath: string;
  readonly #imagePath: string;
  #server: ServerProgram | undefined;

  static async start(sizeBytes: number, args: readonly string[] = []): Promise<RestartingServer> {
    const server = new RestartingServer(sizeBytes, args);
    await server.start();
    return server;
  }

  private constructor(sizeBytes: number, args: readonly string[]) {
    this.#folder = mkdtempSync(join(tmpdir(), 'restarting-'));
    this.#args = args;
    this.socketPath = join(this.#folder, 'socket');
    this.#imagePath = join(this.#folder, 'image');
    writeFileSync(this.#imagePath, new Uint8Array(sizeBytes));
  }

  /** End it the hard way. */
  async kill(): Promise<void> {
    await this.#server?.stop('SIGKILL');
  }

  async start(): Promise<void> {
    const place = [`--socket-path=${this.socketPath}`, `--blk-file=${this.#imagePath}`];
    this.#server = await ServerProgram.ready([...place, ...this.#args]);
  }

  readImage(offsetBytes = 0, lengthBytes = statSync(this.#imagePath).size): Uint8Array {
    return readFileAt(this.#imagePath, offsetBytes, lengthBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.stop('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
