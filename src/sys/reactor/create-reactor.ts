/**
 * The factory of reactors: picks an engine and says why.
 */
import { Errno, SystemError } from '../errors.ts';
import { Feature } from '../io-uring/constants.ts';
import type { Engine, EngineName } from './engine.ts';
import { EpollEngine } from './epoll-engine.ts';
import { Reactor } from './reactor.ts';
import { UringEngine } from './uring-engine.ts';

/** What may be asked for: an engine, or the best there is. */
export type EngineChoice = EngineName | 'auto';

/** The choices, for option parsers. */
export const ENGINE_CHOICES: readonly EngineChoice[] = ['auto', 'io_uring', 'epoll'];

/** Where the reactor will live: see the module of each home. */
export type HomeKind = 'blocking' | 'attached';

/** A reactor and the reason for its engine. */
export interface CreatedReactor {
  readonly reactor: Reactor;
  /** One clause for a log line. */
  readonly because: string;
}

/** The engine asked for by the environment variable `VHOSTKIT_ENGINE`, if any. */
export function engineFromEnvironment(
  value: string | undefined = process.env.VHOSTKIT_ENGINE,
): EngineChoice {
  if (value === undefined || value === '') return 'auto';
  if ((ENGINE_CHOICES as readonly string[]).includes(value)) return value as EngineChoice;
  throw new Error(`VHOSTKIT_ENGINE=${value}: must be one of ${ENGINE_CHOICES.join(', ')}`);
}

/**
 * Make a reactor for the calling thread.
 *
 * @param choice - `auto` takes io_uring where the kernel lets it, else epoll.
 * @throws SystemError if the engine asked for by name is refused.
 */
export function createReactor(
  home: HomeKind,
  choice: EngineChoice = engineFromEnvironment(),
): CreatedReactor {
  if (choice === 'epoll') return epoll('asked for');
  try {
    const reactor = new Reactor(createUringEngine(home));
    const because = choice === 'auto' ? 'the kernel has it' : 'asked for';
    return { reactor, because };
  } catch (error) {
    if (choice !== 'auto' || !(error instanceof SystemError)) throw error;
    return epoll(`io_uring is not to be had: ${refusalReason(error)}`);
  }
}

function epoll(because: string): CreatedReactor {
  return { reactor: new Reactor(new EpollEngine()), because };
}

function createUringEngine(home: HomeKind): Engine {
  const engine = new UringEngine(home === 'blocking');
  if (home === 'attached' && (engine.ring.features & Feature.CQE_SKIP) === 0) {
    engine[Symbol.dispose]();
    throw new SystemError('io_uring_setup', Errno.ENOSYS, "(Node's event loop needs Linux 5.17)");
  }
  return engine;
}

/** The likely cause of a refusal, for people. */
function refusalReason(error: SystemError): string {
  switch (error.errno) {
    case Errno.EPERM:
      return 'forbidden (sysctl kernel.io_uring_disabled, or a seccomp profile such as Docker’s)';
    case Errno.ENOSYS:
      return 'the kernel is too old or built without it';
    case Errno.ENOMEM:
      return 'RLIMIT_MEMLOCK is too low';
    default:
      return error.message;
  }
}
