/**
 * A program for tests: has a reactor on Node's event loop, and comes to its end in the way its
 * arguments say. Prints `done` when nothing is left to do; that it ends is what is tested.
 */
import {
  AttachedHome,
  createEventFd,
  createReactor,
  type EngineChoice,
  signalEvent,
} from '../../src/sys/index.ts';

/** `close`: at once; `unreference`: leave the reactor waiting; `exit`: that, by process.exit. */
export type WayOut = 'close' | 'unreference' | 'exit';

const [engine, wayOut] = process.argv.slice(2) as [EngineChoice, WayOut];
const { reactor } = createReactor('attached', engine);
const home = new AttachedHome(reactor);

function leave(): void {
  process.stdout.write('done');
  if (wayOut === 'exit') process.exit(0);
  home.setReferenced(false);
}

if (wayOut === 'close') {
  process.stdout.write('done');
  home.close();
  reactor[Symbol.dispose]();
} else {
  const event = createEventFd();
  reactor.watch(event.number, { onReadable: leave });
  // From outside of the reactor: whatever wakes the event loop has to be at work already.
  setTimeout(() => signalEvent(event.number), 20);
}
