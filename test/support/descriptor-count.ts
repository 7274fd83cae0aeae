/**
 * Counting this process's own descriptors of the kinds that vhost-user is about. Others come and go
 * with the event loops of Node.js.
 */
import { eventually } from './eventually.ts';
import { openDescriptors } from './open-descriptors.ts';

const STEADY_LOOKS = 20;
const KINDS = /socket:|anon_inode:\[eventfd\]|\/memfd:/;

/** How many sockets, eventfds and memory files are open now. */
function countDescriptors(): number {
  return openDescriptors().filter((line) => KINDS.test(line)).length;
}

/** How many are open once earlier tests' threads have ended and closed theirs. */
export function steadyDescriptors(): Promise<number> {
  let last = -1;
  let looks = 0;
  return eventually('the number of open descriptors is steady', () => {
    const now = countDescriptors();
    looks = now === last ? looks + 1 : 0;
    last = now;
    return looks >= STEADY_LOOKS ? now : undefined;
  });
}

/** Wait until no more than so many are open. */
export async function untilDescriptors(count: number): Promise<void> {
  await eventually(
    () => `no more than ${count} descriptors are open, not ${countDescriptors()}`,
    () => countDescriptors() <= count,
  );
}
