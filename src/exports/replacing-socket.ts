/**
 * A socket that takes the place of another one at its path: it listens beside it first, so that at
 * no moment nobody listens at the path, and gives the place back if need be.
 */
import { linkSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { SocketAccess } from '../sys/index.ts';
import { ExportError } from './errors.ts';
import { listenBeside, type ServerSocket } from './listening-socket.ts';

/** See the module's comment. */
export class ReplacingSocket implements ServerSocket {
  readonly kind = 'listening' as const;
  readonly #path: string;
  readonly #beside: string;
  readonly #kept: string;
  readonly #socket: ServerSocket;

  /** Listen beside the path. Throws an `ExportError`. */
  constructor(path: string, access: SocketAccess = {}) {
    this.#path = path;
    // Short names: a path may be as long as it can be, and these have to fit as well.
    this.#beside = join(dirname(path), `.${process.pid}`);
    this.#kept = `${this.#beside}-`;
    // Left by a process of the same number, whose program was killed.
    this.#removeLeftovers();
    this.#socket = listenBeside(path, this.#beside, access);
  }

  get fd(): ServerSocket['fd'] {
    return this.#socket.fd;
  }

  get removal(): ServerSocket['removal'] {
    return this.#socket.removal;
  }

  next(): ReturnType<ServerSocket['next']> {
    return this.#socket.next();
  }

  /** From now on whoever connects comes here. Throws an `ExportError`. */
  takePlace(): void {
    try {
      // A second name for the other socket, or it could not be given back.
      linkSync(this.#path, this.#kept);
      renameSync(this.#beside, this.#path);
    } catch (error) {
      const text = `cannot take the place of ${this.#path}: ${(error as Error).message}`;
      throw new ExportError('TAKE_OVER_FAILED', text, { cause: error });
    }
  }

  /** Whoever connects gets to the other socket again. */
  giveBack(): void {
    renameSync(this.#kept, this.#path);
  }

  /** The place is taken for good. */
  keepPlace(): void {
    this.#removeLeftovers();
  }

  close(): void {
    this.#socket.close();
    this.#removeLeftovers();
  }

  #removeLeftovers(): void {
    for (const path of [this.#beside, this.#kept]) rmSync(path, { force: true });
  }
}
