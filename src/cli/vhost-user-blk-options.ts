/**
 * The command line of `vhost-user-blk`: QEMU's conventions for back-end programs
 * (vhost-user.rst, "Backend program conventions") and what vhostkit adds.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { VHOST_USER_BLK_DEFAULTS } from '../exports/index.ts';
import { CACHE_MODES, type CacheMode, parseDisk, StorageError } from '../storage/index.ts';
import {
  ENGINE_CHOICES,
  type EngineChoice,
  engineFromEnvironment,
  type SocketAccess,
} from '../sys/index.ts';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from './cli-logger.ts';
import { canBeInherited, canBeTakenOver, type DiskChoice } from './disk-choice.ts';
import { integer, oneOf, option, path, powerOfTwo } from './option-values.ts';
import { newCommand, UsageError } from './program.ts';
import { SANDBOX_MODES, type SandboxMode } from './sandbox.ts';
import { type SocketOwner, socketMode, socketOwner } from './socket-access.ts';
import { activationSocket } from './socket-activation.ts';

/** Where clients come from: a path, with who may connect, or a socket that is open. */
export type SocketChoice =
  | {
      readonly kind: 'path';
      readonly path: string;
      readonly access: SocketAccess;
      /** Of the server that listens there, if one does. */
      readonly takeOver: boolean;
    }
  | { readonly kind: 'fd'; readonly fd: number };

/** What the program is asked to do. */
export interface VhostUserBlkConfig {
  readonly socket: SocketChoice;
  readonly disk: DiskChoice;
  /** Say what the disk is, and end. */
  readonly explain: boolean;
  readonly numQueues: number;
  readonly queueSize: number;
  readonly threads: number;
  readonly serial: string;
  readonly maxPollUs: number;
  readonly engine: EngineChoice;
  readonly sandbox: SandboxMode;
  /** Whether each client is served by a process of its own. */
  readonly isolate: boolean;
  /** How long requests under way are waited for at the end. */
  readonly shutdownTimeoutMs: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** Queues offered unless asked otherwise: QEMU wants one per vCPU; those not used cost nothing. */
const DEFAULT_NUM_QUEUES = 8;
const MAX_NUM_QUEUES = 256;
const MAX_RING_SIZE = 32768;
const MAX_POLL_US = 1_000_000;
const MAX_SERIAL_BYTES = 20;
/** Who stops a server sees it gone within a second, unless asked otherwise. */
const DEFAULT_SHUTDOWN_TIMEOUT_MS = 800;
const MAX_SHUTDOWN_TIMEOUT_MS = 3_600_000;

function serial(text: string): string {
  if (Buffer.byteLength(text) <= MAX_SERIAL_BYTES) return text;
  throw new InvalidArgumentError(`It must have at most ${MAX_SERIAL_BYTES} bytes.`);
}

function writtenDisk(text: string): string {
  try {
    parseDisk(text);
    return text;
  } catch (error) {
    if (error instanceof StorageError) throw new InvalidArgumentError(`${error.message}.`);
    throw error;
  }
}

function socketOptions(): readonly Option[] {
  const fd = integer(0, 2 ** 31 - 1);
  return [
    option('-s, --socket-path <path>', 'listen at this unix socket', path),
    option('-f, --fd <number>', 'serve the socket open as this descriptor', fd),
    option('--socket-mode <mode>', 'permissions of the socket (default: 0600)', socketMode),
    option('--socket-owner <user[:group]>', 'whose the socket is to be', socketOwner),
    new Option('--take-over', 'take the place of the server that listens at --socket-path'),
  ];
}

/** The command with its options, for parsing and for `--help`. */
export function createCommand(version: string): Command {
  const defaults = VHOST_USER_BLK_DEFAULTS;
  const description = 'Serve a disk image or block device to a virtual machine over vhost-user.';
  const command = newCommand('vhost-user-blk', description, version);
  const options = [
    ...socketOptions(),
    option('-b, --blk-file <path>', 'the disk: a raw image or a block device', path),
    option('--disk <disk>', 'any disk, e.g. null,size=1G or stats(file(a.img))', writtenDisk),
    new Option('--explain', 'say what the disk is and where it is served, and exit'),
    new Option('-r, --read-only', 'let the guest read only'),
    new Option('-c, --print-capabilities', 'print what this back-end can do as JSON and exit'),
    option('--num-queues <n>', 'queues to offer', integer(1, MAX_NUM_QUEUES)).default(
      DEFAULT_NUM_QUEUES,
    ),
    option('--queue-size <n>', 'largest ring to accept', powerOfTwo(1, MAX_RING_SIZE)).default(
      defaults.queueSize,
    ),
    option('--threads <n>', 'threads that share the queues', integer(1, MAX_NUM_QUEUES)).default(
      defaults.threads,
    ),
    option(
      '--cache <mode>',
      `host page cache: ${CACHE_MODES.join(', ')}`,
      oneOf(CACHE_MODES),
    ).default('writeback'),
    option('--serial <text>', 'serial number the guest sees', serial).default(defaults.serial),
    option(
      '--block-size <bytes>',
      'logical block (default: what the disk has)',
      powerOfTwo(512, 65536),
    ),
    option(
      '--poll-max-us <us>',
      'look for work so long before sleeping',
      integer(0, MAX_POLL_US),
    ).default(defaults.maxPollUs),
    option(
      '--locking <mode>',
      `refuse an image that is in use: ${LOCKING_MODES.join(', ')}`,
      oneOf(LOCKING_MODES),
    ).default('on'),
    option(
      '--engine <name>',
      `how to reach the kernel: ${ENGINE_CHOICES.join(', ')}`,
      oneOf(ENGINE_CHOICES),
    ),
    option(
      '--sandbox <mode>',
      `give up what is not needed: ${SANDBOX_MODES.join(', ')}`,
      oneOf(SANDBOX_MODES),
    ).default('auto'),
    new Option('--isolate', 'serve each client in a process of its own'),
    option(
      '--shutdown-timeout <ms>',
      'wait so long for requests under way at the end',
      integer(1, MAX_SHUTDOWN_TIMEOUT_MS),
    ).default(DEFAULT_SHUTDOWN_TIMEOUT_MS),
    option(
      '--log-level <level>',
      `what to log: ${LOG_LEVELS.join(', ')}`,
      oneOf(LOG_LEVELS),
    ).default('info'),
    option('--log-format <format>', `how: ${LOG_FORMATS.join(', ')}`, oneOf(LOG_FORMATS)).default(
      'text',
    ),
  ];
  for (const each of options) command.addOption(each);
  return command;
}

const LOCKING_MODES = ['on', 'off', 'while-running'] as const;
type LockingMode = (typeof LOCKING_MODES)[number];

/** Parsed values as commander names them. */
interface RawOptions {
  readonly socketPath?: string;
  readonly fd?: number;
  readonly socketMode?: number;
  readonly socketOwner?: SocketOwner;
  readonly takeOver?: boolean;
  readonly blkFile?: string;
  readonly disk?: string;
  readonly explain?: boolean;
  readonly readOnly?: boolean;
  readonly printCapabilities?: boolean;
  readonly numQueues: number;
  readonly queueSize: number;
  readonly threads: number;
  readonly cache: CacheMode;
  readonly serial: string;
  readonly blockSize?: number;
  readonly pollMaxUs: number;
  readonly locking: LockingMode;
  readonly engine?: EngineChoice;
  readonly sandbox: SandboxMode;
  readonly isolate?: boolean;
  readonly shutdownTimeout: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** For those who serve nobody. */
const NO_SOCKET: SocketChoice = { kind: 'fd', fd: -1 };

/** Where clients come from. Throws a `UsageError`. */
function socketOf(raw: RawOptions, activated: number | undefined): SocketChoice {
  const given = [raw.socketPath, raw.fd].filter((value) => value !== undefined).length;
  if (activated !== undefined && given > 0) {
    throw new UsageError('a socket was passed in LISTEN_FDS: --socket-path and --fd contradict it');
  }
  if (activated === undefined && given !== 1) {
    throw new UsageError('give either --socket-path or --fd');
  }
  if (raw.socketPath !== undefined) {
    const mode = raw.socketMode === undefined ? {} : { mode: raw.socketMode };
    const access = { ...mode, ...raw.socketOwner };
    return { kind: 'path', path: raw.socketPath, access, takeOver: raw.takeOver ?? false };
  }
  if (raw.socketMode !== undefined || raw.socketOwner !== undefined) {
    throw new UsageError('--socket-mode and --socket-owner are for --socket-path');
  }
  if (raw.takeOver) throw new UsageError('--take-over is for --socket-path');
  return { kind: 'fd', fd: raw.fd ?? activated ?? -1 };
}

/**
 * What a parsed command line asks for. Throws a `UsageError`.
 *
 * @param activated - the descriptor of a socket that a service manager has passed, if any.
 */
export function configOf(
  command: Command,
  activated: number | undefined = activationSocket(process.env, process.pid),
): VhostUserBlkConfig {
  const raw = command.opts<RawOptions>();
  const socket = raw.explain ? NO_SOCKET : socketOf(raw, activated);
  if ((raw.blkFile === undefined) === (raw.disk === undefined)) {
    throw new UsageError('give either --blk-file or --disk');
  }
  const disk = diskOf(raw);
  checkHandOver(raw, disk);
  return {
    socket,
    disk,
    explain: raw.explain ?? false,
    numQueues: raw.numQueues,
    queueSize: raw.queueSize,
    threads: raw.threads,
    serial: raw.serial,
    maxPollUs: raw.pollMaxUs,
    engine: raw.engine ?? environmentEngine(),
    sandbox: raw.sandbox,
    isolate: raw.isolate ?? false,
    shutdownTimeoutMs: raw.shutdownTimeout,
    logLevel: raw.logLevel,
    logFormat: raw.logFormat,
  };
}

function diskOf(raw: RawOptions): DiskChoice {
  return {
    source:
      raw.disk === undefined
        ? { kind: 'image', path: raw.blkFile ?? '' }
        : { kind: 'written', text: raw.disk },
    options: {
      readOnly: raw.readOnly ?? false,
      cache: raw.cache,
      locking: raw.locking === 'while-running' ? raw.locking : raw.locking === 'on',
      ...(raw.blockSize === undefined ? {} : { blockBytes: raw.blockSize }),
    },
  };
}

/** Some options hand the disk from process to process, which takes one that can be. */
function checkHandOver(raw: RawOptions, { source }: DiskChoice): void {
  if (raw.isolate && !canBeInherited(source)) {
    const kinds = 'images, memory and null disks';
    throw new UsageError(`--isolate is for ${kinds}, not for what is made of others`);
  }
  if (raw.takeOver && !canBeTakenOver(source)) {
    throw new UsageError('--take-over is for images and null disks: no other process has the rest');
  }
}

function environmentEngine(): EngineChoice {
  try {
    return engineFromEnvironment();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
