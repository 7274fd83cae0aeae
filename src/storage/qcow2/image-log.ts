/** What an image has to say while it is used: each thing once, however often it happens. */
import { type Logger, silentLogger } from '../../sys/index.ts';

/** See the module's comment. */
export class ImageLog {
  readonly #name: string;
  #logger: Logger = silentLogger;
  readonly #said = new Set<string>();

  /** @param name - of the image, for messages. */
  constructor(name: string) {
    this.#name = name;
  }

  useLogger(logger: Logger): void {
    this.#logger = logger;
  }

  /** Warn of something, unless that has been done. @param what - the message begins with it. */
  warnOnce(what: string, error: unknown): void {
    if (this.#said.has(what)) return;
    this.#said.add(what);
    this.#logger.warn(`${this.#name}: ${what}: ${(error as Error).message}`);
  }

  error(problem: string): void {
    this.#logger.error(`${this.#name}: ${problem}`);
  }
}
