/** Where diagnostics go: library code takes a `Logger` and is silent without one. */

/** Four levels of one-line messages. Never called per request. */
export interface Logger {
  /** What happens, for whoever looks for a fault. */
  debug(message: string): void;
  /** Changes of state that matter. */
  info(message: string): void;
  /** Somebody did something wrong and was refused; service goes on. */
  warn(message: string): void;
  /** Something that should have worked did not. */
  error(message: string): void;
}

/** Says nothing. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
};

/** A logger that puts `prefix: ` before every message. */
export function prefixedLogger(logger: Logger, prefix: string): Logger {
  return {
    debug: (message) => logger.debug(`${prefix}: ${message}`),
    info: (message) => logger.info(`${prefix}: ${message}`),
    warn: (message) => logger.warn(`${prefix}: ${message}`),
    error: (message) => logger.error(`${prefix}: ${message}`),
  };
}
