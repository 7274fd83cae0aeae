/**
 * What is done when an image turns out to be damaged while it is used: it is marked in its header, so
 * that it is repaired before it is written again, and nothing is changed any more. As QEMU does.
 */
import { Errno, SystemError } from '../../sys/index.ts';
import { HEADER_START_BYTES, HeaderField, Incompatible } from './header.ts';
import type { ImageFile } from './image-file.ts';
import type { ImageLog } from './image-log.ts';
import type { Layout } from './layout.ts';

/** See the module's comment. */
export class Corruption {
  readonly #file: ImageFile;
  readonly #layout: Layout;
  readonly #log: ImageLog;
  #isFound = false;

  constructor(file: ImageFile, layout: Layout, log: ImageLog) {
    this.#file = file;
    this.#layout = layout;
    this.#log = log;
  }

  get isFound(): boolean {
    return this.#isFound;
  }

  /** Throws EIO if some has been found: for whoever is about to change something. */
  check(): void {
    if (this.#isFound) throw new SystemError('write', Errno.EIO, 'the image is damaged');
  }

  /** The refcount of a cluster that is used is 0. Rejects with EIO in any case. */
  async foundUncounted(host: number): Promise<never> {
    if (!this.#isFound) {
      this.#isFound = true;
      const what = `the refcount of its table at ${host} is 0, so it would be overwritten`;
      this.#log.error(`${what}: no more is written; repair it by qemu-img check -r all`);
      await this.#mark();
    }
    throw new SystemError('allocate', Errno.EIO, `a table is at ${host}`);
  }

  /** Version 2 has no mark. */
  async #mark(): Promise<void> {
    if (this.#layout.version === 2) return;
    try {
      const bytes = Buffer.alloc(Math.max(HEADER_START_BYTES, this.#file.blockBytes));
      await this.#file.read(bytes, 0);
      const at = HeaderField.INCOMPATIBLE + 4;
      bytes.writeUInt32BE((bytes.readUInt32BE(at) | Incompatible.CORRUPT) >>> 0, at);
      await this.#file.write(bytes, 0);
      await this.#file.barrier();
    } catch (error) {
      this.#log.warnOnce('it cannot be marked as corrupt', error);
    }
  }
}
