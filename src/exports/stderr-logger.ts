/** The logger of those who have not given one: what is wrong goes to standard error. */
import type { Logger } from '../sys/index.ts';

function say(text: string): void {
  process.stderr.write(`vhostkit: ${text}\n`);
}

/** See the module's comment. */
export const stderrLogger: Logger = { debug() {}, info() {}, warn: say, error: say };
