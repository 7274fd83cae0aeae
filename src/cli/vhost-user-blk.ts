#!/usr/bin/env node
/**
 * `vhost-user-blk`: a disk image or block device becomes a virtual machine's disk. A drop-in for
 * QEMU's contrib/vhost-user-blk that serves one client after another.
 *
 * SIGHUP has it look at the size of the image again.
 *
 * Exit codes: 0 after SIGTERM or SIGINT (and when the one connection given by --fd has
 * ended), 1 if it cannot serve, 2 for a wrong command line.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  adoptSocket,
  ExportError,
  listenAt,
  type ServerSocket,
  VhostUserBlkServer,
} from '../exports/index.ts';
import { type Disk, openDisk, StorageError } from '../storage/index.ts';
import { exitNow, type Logger } from '../sys/index.ts';
import { createCliLogger } from './cli-logger.ts';
import { EXIT_FAILURE, fail, parseOrExit } from './program.ts';
import { Sandbox } from './sandbox.ts';
import { configOf, createCommand, type VhostUserBlkConfig } from './vhost-user-blk-options.ts';

const PROGRAM = 'vhost-user-blk';
/** How long to wait for an image that is in use, and between looks. */
const LOCK_WAIT_MS = 1000;
const LOCK_LOOK_MS = 20;
/** Time for requests under way at the end; the promise is to be gone within a second. */
const SHUTDOWN_TIMEOUT_MS = 800;
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

/**
 * Requests of a server that was killed hold the image's lock until they are done, which takes a
 * moment: only who holds it longer is somebody else.
 */
async function openWhenFree(specification: VhostUserBlkConfig['disk']): Promise<Disk> {
  const endMs = performance.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      return openDisk(specification);
    } catch (error) {
      const isInUse = error instanceof StorageError && error.code === 'DISK_IN_USE';
      if (!isInUse || performance.now() >= endMs) throw error;
      await delay(LOCK_LOOK_MS);
    }
  }
}

async function run(config: VhostUserBlkConfig, logger: Logger): Promise<void> {
  const disk = await openWhenFree(config.disk);
  // From before there is a socket: a signal must not leave that behind.
  const stopSignal = firstStopSignal();
  let onHangUp = (): void => {};
  process.on('SIGHUP', () => onHangUp());
  let socket: ServerSocket | undefined;
  try {
    socket =
      config.socket.kind === 'path'
        ? listenAt(config.socket.path, config.socket.access)
        : adoptSocket(config.socket.fd);
    const sandbox = new Sandbox(config.sandbox, socket.removal);
    const { landlockRuleset } = sandbox;
    const { numQueues, queueSize, threads, serial, maxPollUs, engine } = config;
    const settings = { numQueues, queueSize, threads, serial, maxPollUs, engine, logger };
    const server = await VhostUserBlkServer.start({ disk, socket, landlockRuleset, ...settings });
    // Before the event loop turns again: no client has been accepted yet.
    sandbox.enter(logger);
    logger.info(disk.description);
    logger.info(
      config.socket.kind === 'path'
        ? `listening at ${config.socket.path}`
        : `serving descriptor ${config.socket.fd}`,
    );
    onHangUp = () => updateCapacity(server, logger);
    void stopSignal.then((signal) => stop(server, signal, logger));
    await server.ended;
    disk.close();
  } catch (error) {
    socket?.close();
    throw error;
  }
}

/** A disk that can't be asked keeps its size. */
function updateCapacity(server: VhostUserBlkServer, logger: Logger): void {
  try {
    const bytes = server.updateCapacity();
    logger.info(`SIGHUP: the disk has ${bytes} bytes`);
  } catch (error) {
    logger.error(`SIGHUP: cannot find out the size of the disk: ${(error as Error).message}`);
  }
}

/** The first signal that asks the program to end; later ones change nothing. */
function firstStopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, resolve);
  });
}

function stop(server: VhostUserBlkServer, signal: NodeJS.Signals, logger: Logger): void {
  logger.info(`${signal}: finishing the requests under way`);
  setTimeout(() => {
    logger.error(`requests are still under way after ${SHUTDOWN_TIMEOUT_MS} ms: giving up`);
    exitNow(EXIT_FAILURE);
  }, SHUTDOWN_TIMEOUT_MS).unref();
  void server.close();
}

const config = parse(process.argv.slice(2));
const logger = createCliLogger(config.logLevel, config.logFormat);
process.on('uncaughtException', (error) => {
  logger.error(`internal error: ${error.stack ?? error.message}`);
  exitNow(EXIT_FAILURE);
});
try {
  await run(config, logger);
  process.exit(0);
} catch (error) {
  if (error instanceof StorageError || error instanceof ExportError) {
    fail(PROGRAM, error.message, EXIT_FAILURE);
  }
  throw error;
}
