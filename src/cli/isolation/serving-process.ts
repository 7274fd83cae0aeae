/**
 * A process that serves one client for a supervisor, and ends with it. It is started in advance,
 * says over the socket it is given when it is ready, and then gets the connection over it, which it
 * confirms.
 *
 * Exit codes: as of the program.
 */
import { receivingSocket } from '../../exports/index.ts';
import { ImageTurns } from '../../storage/index.ts';
import { dieWithParent, exitNow, Fd, type Logger, sendMessage } from '../../sys/index.ts';
import { createCliLogger } from '../cli-logger.ts';
import { openChoice } from '../disk-choice.ts';
import { closeDisk, startDiskServer, stopDiskServer } from '../disk-server.ts';
import { EXIT_FAILURE, failToServe } from '../program.ts';
import { firstStopSignal, lookAgain } from '../signals.ts';
import { IMAGE_FD, PASSING_FD, type ServingPlan } from './serving-plan.ts';

const PROGRAM = 'vhost-user-blk';
const READY = Uint8Array.of(1);
const TAKEN = Uint8Array.of(2);

/** Everything but errors is for those who look for a fault. */
function quieter(logger: Logger): Logger {
  return { ...logger, info: logger.debug, warn: logger.debug };
}

async function run(plan: ServingPlan, logger: Logger): Promise<number> {
  const stopSignal = firstStopSignal();
  let look = (_occasion?: string): void => {};
  process.on('SIGHUP', () => look());
  const disk = await openChoice(plan.disk);
  // The owner's opening: from now on this process has its own.
  if (plan.disk.options.succession !== undefined) new Fd(IMAGE_FD, 'image').close();
  const turns = new ImageTurns(disk, plan.turnByte);
  const passing = new Fd(PASSING_FD, 'supervisor');
  const socket = receivingSocket(passing, () => {
    if (!turns.take()) throw new Error('it is the turn of another process');
    disk.lock?.acquire();
    look('a client has come');
    sendMessage(passing.number, TAKEN);
  });
  const startLogger = plan.isFirst ? logger : quieter(logger);
  const server = await startDiskServer(plan.server, disk, socket, { logger, startLogger });
  // The supervisor has said what it was told: this is how it is obeyed.
  const quiet = quieter(logger);
  look = (occasion) => lookAgain(() => server.updateCapacity(), disk, quiet, occasion);
  void stopSignal.then(() => stopDiskServer(server, plan.server.shutdownTimeoutMs, logger));
  server.admit();
  sendMessage(passing.number, READY);
  await server.ended;
  return closeDisk(disk, logger);
}

const plan = JSON.parse(process.argv[2]) as ServingPlan;
const logger = createCliLogger(plan.logLevel, plan.logFormat);
process.on('uncaughtException', (error) => {
  logger.error(`internal error: ${error.stack ?? error.message}`);
  exitNow(EXIT_FAILURE);
});
dieWithParent();
try {
  process.exit(await run(plan, logger));
} catch (error) {
  failToServe(PROGRAM, error);
}
