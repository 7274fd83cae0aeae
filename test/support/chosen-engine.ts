/** The engine that a suite's devices use, as if the environment had asked for it. */
import { after, before } from 'node:test';
import type { EngineName } from '../../src/sys/index.ts';

/** Within a suite, for its tests. */
export function chooseEngine(engine: EngineName): void {
  let chosen: string | undefined;
  before(() => {
    chosen = process.env.VHOSTKIT_ENGINE;
    process.env.VHOSTKIT_ENGINE = engine;
  });
  after(() => {
    if (chosen === undefined) delete process.env.VHOSTKIT_ENGINE;
    else process.env.VHOSTKIT_ENGINE = chosen;
  });
}
