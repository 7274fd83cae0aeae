/** The reactor that a program has on its main thread. */
import {
  type CreatedReactor,
  createReactor,
  type EngineChoice,
  SystemError,
} from '../sys/index.ts';
import { ExportError } from './errors.ts';

/** For an `AttachedHome`. Throws an `ExportError` if the engine asked for is not to be had. */
export function createControlReactor(engine: EngineChoice): CreatedReactor {
  try {
    return createReactor('attached', engine);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    const text = `engine ${engine} is not to be had here: ${error.message}`;
    throw new ExportError('ENGINE_REFUSED', text, { cause: error });
  }
}
