/** Runs a test body on a reactor of every engine in every home. */
import {
  AttachedHome,
  BlockingHome,
  createReactor,
  type EngineName,
  type HomeKind,
  type Reactor,
} from '../../src/sys/index.ts';

/** Every combination a reactor exists in. */
export const REACTOR_KINDS: readonly (readonly [EngineName, HomeKind])[] = [
  ['io_uring', 'blocking'],
  ['io_uring', 'attached'],
  ['epoll', 'blocking'],
  ['epoll', 'attached'],
];

/** What a test body gets. */
export interface ReactorUnderTest {
  readonly reactor: Reactor;
  /** End the test. */
  readonly done: () => void;
}

/** Why an engine cannot be tested here, or `undefined`. */
export function missingEngine(engine: EngineName): string | undefined {
  try {
    createReactor('blocking', engine).reactor[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return `no ${engine} on this machine: ${String(error)}`;
  }
}

/** Run `body` on a fresh reactor and turn it until `done`; fails after `timeoutMs`. */
export async function onReactor(
  engine: EngineName,
  home: HomeKind,
  body: (test: ReactorUnderTest) => void,
  timeoutMs = 10_000,
): Promise<void> {
  const { reactor } = createReactor(home, engine);
  let finished = false;
  let failure: unknown;
  if (home === 'blocking') {
    const blocking = new BlockingHome(reactor, 0);
    const stop = (): void => {
      finished = true;
      blocking.stop();
    };
    reactor.after(timeoutMs, () => blocking.stop());
    body({ reactor, done: stop });
    await blocking.run();
  } else {
    const attached = new AttachedHome(reactor);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      const done = (): void => {
        finished = true;
        clearTimeout(timer);
        resolve();
      };
      try {
        body({ reactor, done });
      } catch (error) {
        failure = error;
        done();
      }
    });
    attached.close();
  }
  reactor[Symbol.dispose]();
  if (failure !== undefined) throw failure;
  if (!finished) throw new Error(`${engine}, ${home}: not done after ${timeoutMs} ms`);
}
