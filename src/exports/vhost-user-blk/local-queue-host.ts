/** A queue host on a reactor of this thread, attached to Node's event loop. */
import type { MappingHandle } from '../../sys/index.ts';
import type { HaltMode, RingSetup } from '../../vhost-user/index.ts';
import type { BrokenRingHandler, QueueHost, SharedRegion } from './queue-host.ts';
import { QueueRunner, type QueueRunnerOptions } from './queue-runner.ts';

/** See `QueueHost`. */
export class LocalQueueHost implements QueueHost {
  readonly #runner: QueueRunner;

  constructor(options: QueueRunnerOptions) {
    this.#runner = new QueueRunner(options);
  }

  async setMemory(regions: readonly SharedRegion[]): Promise<void> {
    this.#runner.setMemory(regions);
  }

  async setLog(log: MappingHandle | undefined): Promise<void> {
    this.#runner.setLog(log);
  }

  async runRing(setup: RingSetup, onBroken: BrokenRingHandler): Promise<void> {
    this.#runner.runRing(setup, onBroken);
  }

  async rewireRing(setup: RingSetup): Promise<void> {
    this.#runner.rewireRing(setup);
  }

  haltRing(index: number, mode: HaltMode): Promise<number> {
    return new Promise((resolve) => this.#runner.haltRing(index, mode, resolve));
  }

  async close(): Promise<void> {
    this.#runner.close();
  }
}
