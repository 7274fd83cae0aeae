/** A server as the program has it: confined, and ended by signals within a time limit. */
import { ExportError, type ServerSocket, VhostUserBlkServer } from '../exports/index.ts';
import type { Disk } from '../storage/index.ts';
import { exitNow, type Logger } from '../sys/index.ts';
import { EXIT_FAILURE } from './program.ts';
import { Sandbox, type SandboxMode } from './sandbox.ts';
import type { VhostUserBlkConfig } from './vhost-user-blk-options.ts';

/** Time for a disk to write what it has kept; service managers wait longer (systemd: 90 s). */
const CLOSE_TIMEOUT_MS = 60_000;

/** Time for threads that have nothing to do any more, which on a busy machine takes a while. */
export const THREADS_TIMEOUT_MS = 5000;

/** What a server needs to know of the command line. */
export type ServerConfig = Pick<
  VhostUserBlkConfig,
  'numQueues' | 'queueSize' | 'threads' | 'serial' | 'maxPollUs' | 'engine' | 'shutdownTimeoutMs'
> & { readonly sandbox: SandboxMode };

/** Loggers: for what clients do, and for what is said while the server starts. */
export interface ServerLoggers {
  readonly logger: Logger;
  readonly startLogger: Logger;
}

/**
 * Start a server that serves as soon as it is told to (`admit`), and confine the process. Rejects
 * with an `ExportError`.
 *
 * @param prepared - called when all is prepared, and before the process is confined.
 */
export async function startDiskServer(
  config: ServerConfig,
  disk: Disk,
  socket: ServerSocket,
  { logger, startLogger }: ServerLoggers,
  prepared: () => Promise<void> = async () => {},
): Promise<VhostUserBlkServer> {
  const sandbox = new Sandbox(sandboxMode(config.sandbox, disk, startLogger), socket.removal);
  const { landlockRuleset } = sandbox;
  const { numQueues, queueSize, threads, serial, maxPollUs, engine } = config;
  const settings = { numQueues, queueSize, threads, serial, maxPollUs, engine };
  const server = await VhostUserBlkServer.start({
    ...{ disk, socket, landlockRuleset, logger, startLogger },
    ...settings,
    isHeld: true,
  });
  await prepared();
  sandbox.enter(startLogger);
  return server;
}

/** A disk that reaches for more than what is open already cannot be confined. */
function sandboxMode(mode: SandboxMode, { needsOutside }: Disk, logger: Logger): SandboxMode {
  if (needsOutside === undefined || mode === 'off') return mode;
  if (mode === 'on') throw new ExportError('SANDBOX_REFUSED', `--sandbox=on: ${needsOutside}`);
  logger.warn(`sandbox: ${needsOutside}`);
  return 'off';
}

/**
 * End in an orderly way, or give up. The disk stays open.
 *
 * @param limitMs - time for the requests under way.
 */
export function stopDiskServer(server: VhostUserBlkServer, limitMs: number, logger: Logger): void {
  const giveUp = (what: string, afterMs: number): void => {
    logger.error(`${what} after ${afterMs} ms: giving up`);
    exitNow(EXIT_FAILURE);
  };
  let timer = setTimeout(() => {
    if (server.isServing) giveUp('requests are still under way', limitMs);
    const allMs = limitMs + THREADS_TIMEOUT_MS;
    timer = setTimeout(() => giveUp('threads have not ended', allMs), THREADS_TIMEOUT_MS);
  }, limitMs);
  server.close().then(
    () => clearTimeout(timer),
    (error: Error) => {
      logger.error(`the end is not as it should be: ${error.message}`);
      exitNow(EXIT_FAILURE);
    },
  );
}

/**
 * Close a disk that is served no more: what it has in memory is written now. Resolves with the exit
 * code when it is closed, as it should be or not; gives up when that takes too long.
 */
export async function closeDisk(
  disk: Disk,
  logger: Logger,
  limitMs: number = CLOSE_TIMEOUT_MS,
): Promise<number> {
  // Referenced: a disk that waits for nothing would let the process end without a word.
  const timer = setTimeout(() => {
    const why = `the disk is not closed after ${limitMs} ms`;
    logger.error(`${why}: giving up, what was written last may be lost`);
    exitNow(EXIT_FAILURE);
  }, limitMs);
  try {
    await disk.close();
    return 0;
  } catch (error) {
    logger.error(`the disk is not closed as it should be: ${(error as Error).message}`);
    return EXIT_FAILURE;
  } finally {
    clearTimeout(timer);
  }
}
