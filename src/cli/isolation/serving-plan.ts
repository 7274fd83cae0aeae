/** What a supervisor tells a process that is to serve one client: its command line, as JSON. */
import type { LogFormat, LogLevel } from '../cli-logger.ts';
import type { DiskChoice } from '../disk-choice.ts';
import type { ServerConfig } from '../disk-server.ts';

/** Descriptors it is started with. */
export const PASSING_FD = 3;
export const IMAGE_FD = 4;

/** See the module's comment. */
export interface ServingPlan {
  readonly server: ServerConfig;
  readonly disk: DiskChoice;
  readonly turnByte: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** Whether to log how the server is set up: every one is the same. */
  readonly isFirst: boolean;
}
