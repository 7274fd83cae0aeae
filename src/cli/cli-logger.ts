/**
 * The programs' logger: one line a message on standard error, as text for people or as JSON.
 */
import { writeSync } from 'node:fs';
import { type DestinationStream, pino } from 'pino';
import type { Logger } from '../sys/index.ts';

/** From fewest to most messages. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** How a line looks. */
export const LOG_FORMATS = ['text', 'json'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

const STDERR = 2;
const LEVEL_WIDTH = 5;

/** A destination that writes text. pino tells it what is in a line: no need to parse it again. */
function createTextDestination(): DestinationStream {
  return {
    [pino.symbols.needsMetadataGsym]: true,
    lastLevel: 0,
    lastMsg: '',
    write(): void {
      const level = pino.levels.labels[this.lastLevel].padEnd(LEVEL_WIDTH);
      writeLine(`${new Date().toISOString()} ${level} ${this.lastMsg}\n`);
    },
  } as DestinationStream & { lastLevel: number; lastMsg: string };
}

/** Synchronous: what was logged is out before the process ends, however it ends. */
function writeLine(line: string): void {
  try {
    writeSync(STDERR, line);
  } catch {
    // Nobody to tell: standard error is closed, or a full pipe.
  }
}

/** A logger that writes messages of `level` and above. */
export function createCliLogger(level: LogLevel, format: LogFormat): Logger {
  const destination = format === 'json' ? { write: writeLine } : createTextDestination();
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  return {
    debug: (message) => logger.debug(message),
    info: (message) => logger.info(message),
    warn: (message) => logger.warn(message),
    error: (message) => logger.error(message),
  };
}
