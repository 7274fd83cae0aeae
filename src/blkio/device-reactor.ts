/** Reactors for queues and connections of devices. */
import {
  createReactor,
  type EngineChoice,
  engineFromEnvironment,
  type HomeKind,
  type Reactor,
  SystemError,
} from '../sys/index.ts';
import { BlkioError, blkioCode } from './errors.ts';

/** Kernels refuse io_uring with these, too, but they would refuse anything. */
const SHORTAGES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/**
 * A reactor for the calling thread, with the engine that `VHOSTKIT_ENGINE` asks for: without it,
 * io_uring where the system lets us, else epoll.
 *
 * @throws BlkioError ENOSYS: io_uring is asked for, and refused; EINVAL: there is no such engine;
 *   others if the system has no room for another reactor.
 */
export function createDeviceReactor(home: HomeKind): Reactor {
  const engine = chosenEngine();
  try {
    return createReactor(home, engine).reactor;
  } catch (error) {
    throw asBlkioError(error, engine);
  }
}

function chosenEngine(): EngineChoice {
  try {
    return engineFromEnvironment();
  } catch (cause) {
    throw new BlkioError('EINVAL', (cause as Error).message, { cause });
  }
}

function asBlkioError(error: unknown, engine: EngineChoice): unknown {
  if (!(error instanceof SystemError)) return error;
  const isRefusal = error.syscall.startsWith('io_uring_') && !SHORTAGES.has(error.code);
  if (!isRefusal) return asShortage(error);
  const text = `VHOSTKIT_ENGINE=${engine}: not to be had here: ${error.message}`;
  return new BlkioError('ENOSYS', text, { cause: error });
}

/** Why the system has no room for something. Errors of other kinds stay what they are. */
export function asShortage(error: unknown): unknown {
  if (!(error instanceof SystemError)) return error;
  return new BlkioError(blkioCode(error.code), error.message, { cause: error });
}
