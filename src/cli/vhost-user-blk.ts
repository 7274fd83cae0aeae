#!/usr/bin/env node
/**
 * `vhost-user-blk`: a disk image or block device becomes a virtual machine's disk. A drop-in for
 * QEMU's contrib/vhost-user-blk that serves one client after another.
 *
 * SIGHUP has it look at the size of the image again; SIGUSR1 has filters that count report.
 *
 * Exit codes: 0 after SIGTERM or SIGINT (and when the one connection given by --fd has
 * ended), 1 if it cannot serve, or not close the disk as it should be, 2 for a wrong command line.
 */
import { adoptSocket, listenAt, type ServerSocket } from '../exports/index.ts';
import { type Disk, explainDisk, rawImageWarning } from '../storage/index.ts';
import { exitNow, type Logger } from '../sys/index.ts';
import { createCliLogger } from './cli-logger.ts';
import { openChoice, withOptions } from './disk-choice.ts';
import { closeDisk, startDiskServer, stopDiskServer } from './disk-server.ts';
import { Supervisor } from './isolation/supervisor.ts';
import { openWhenFree } from './open-when-free.ts';
import { EXIT_FAILURE, failToServe, parseOrExit } from './program.ts';
import { firstStopSignal, lookAgain, reportOnSignal } from './signals.ts';
import { TakeOver } from './take-over.ts';
import { configOf, createCommand, type VhostUserBlkConfig } from './vhost-user-blk-options.ts';

const PROGRAM = 'vhost-user-blk';
/** What the schema in QEMU's docs/interop/vhost-user.json has for block devices. */
const CAPABILITIES = { type: 'block', features: ['read-only', 'blk-file'] };

function parse(argv: readonly string[]): VhostUserBlkConfig {
  // Comes first: everything else on the command line is to be ignored then.
  if (argv.includes('--print-capabilities') || argv.includes('-c')) {
    process.stdout.write(`${JSON.stringify(CAPABILITIES)}\n`);
    process.exit(0);
  }
  return parseOrExit(createCommand, configOf, argv);
}

/** What is open, and how the program is told things. */
interface Service {
  readonly disk: Disk;
  readonly socket: ServerSocket;
  readonly stopSignal: Promise<NodeJS.Signals>;
  /** What SIGHUP does from now on. */
  onHangUp(react: () => void): void;
  /** To wait for when all is prepared: the disk may be another's until then. */
  prepared(): Promise<void>;
}

/** Returns the exit code. */
async function run(config: VhostUserBlkConfig, logger: Logger): Promise<number> {
  const { disk, takeOver } = await openDiskOf(config, logger);
  const warning = rawImageWarning(disk);
  if (warning !== undefined) logger.warn(warning);
  if (config.explain) {
    for (const line of explainDisk(disk)) process.stdout.write(`${line}\n`);
    return closeDisk(disk, logger);
  }
  disk.useLogger?.(logger);
  reportOnSignal(disk);
  // From before there is a socket: a signal must not leave that behind.
  const stopSignal = firstStopSignal();
  let react = (): void => {};
  process.on('SIGHUP', () => react());
  const onHangUp = (next: () => void): void => {
    react = next;
  };
  const { shutdownTimeoutMs } = config;
  const prepared = async (): Promise<void> => takeOver?.complete(shutdownTimeoutMs, logger);
  let socket: ServerSocket | undefined = takeOver?.socket;
  try {
    socket ??=
      config.socket.kind === 'path'
        ? listenAt(config.socket.path, config.socket.access)
        : adoptSocket(config.socket.fd);
    const service = { disk, socket, stopSignal, onHangUp, prepared };
    const code = await (config.isolate ? supervise : serve)(config, service, logger);
    const closeCode = await closeDisk(disk, logger);
    return code === 0 ? closeCode : code;
  } catch (error) {
    socket?.close();
    throw error;
  }
}

/** The disk, and whose place is to be taken: that one has the disk still. */
async function openDiskOf(
  { socket, disk: choice }: VhostUserBlkConfig,
  logger: Logger,
): Promise<{ disk: Disk; takeOver?: TakeOver }> {
  if (socket.kind === 'path' && socket.takeOver) {
    const { locking = true } = choice.options;
    const disk = await openChoice(
      withOptions(choice, { locking: locking === true ? 'later' : locking }),
    );
    const takeOver = TakeOver.prepare(socket.path, socket.access, disk);
    if (takeOver !== undefined) return { disk, takeOver };
    await disk.close();
    logger.warn(`nobody listens at ${socket.path}: there is no place to take over`);
  }
  return { disk: await openWhenFree(choice) };
}

/** In this process. */
async function serve(
  config: VhostUserBlkConfig,
  { disk, socket, stopSignal, onHangUp, prepared }: Service,
  logger: Logger,
): Promise<number> {
  const loggers = { logger, startLogger: logger };
  const server = await startDiskServer(config, disk, socket, loggers, prepared);
  announce(config, disk, logger);
  onHangUp(() => lookAgain(() => server.updateCapacity(), disk, logger));
  void stopSignal.then((signal) => {
    logStop(signal, logger);
    stopDiskServer(server, config.shutdownTimeoutMs, logger);
  });
  server.admit();
  await server.ended;
  return 0;
}

/** In a process for each client. */
async function supervise(
  config: VhostUserBlkConfig,
  { disk, socket, stopSignal, onHangUp, prepared }: Service,
  logger: Logger,
): Promise<number> {
  const supervisor = new Supervisor({ config, disk, socket, logger });
  if (await supervisor.start()) {
    await prepared();
    announce(config, disk, logger);
    onHangUp(() => {
      lookAgain(() => disk.currentSizeBytes(), disk, logger);
      supervisor.hangUp();
    });
    void stopSignal.then((signal) => {
      logStop(signal, logger);
      supervisor.stop();
    });
    supervisor.serve();
  }
  const code = await supervisor.ended;
  socket.close();
  return code;
}

function announce(config: VhostUserBlkConfig, disk: Disk, logger: Logger): void {
  logger.info(disk.description);
  logger.info(
    config.socket.kind === 'path'
      ? `listening at ${config.socket.path}`
      : `serving descriptor ${config.socket.fd}`,
  );
}

function logStop(signal: NodeJS.Signals, logger: Logger): void {
  logger.info(`${signal}: finishing the requests under way`);
}

const config = parse(process.argv.slice(2));
const logger = createCliLogger(config.logLevel, config.logFormat);
process.on('uncaughtException', (error) => {
  logger.error(`internal error: ${error.stack ?? error.message}`);
  exitNow(EXIT_FAILURE);
});
try {
  process.exit(await run(config, logger));
} catch (error) {
  failToServe(PROGRAM, error);
}
