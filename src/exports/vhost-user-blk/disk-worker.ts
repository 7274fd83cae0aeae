/**
 * A disk worker: a thread that opens a disk and serves its queues, next to the disk's own code, on
 * an event loop of its own. Whatever that code does holds up nobody else.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { type Disk, openDisk, parseDisk, StorageError } from '../../storage/index.ts';
import { AttachedHome, type Logger, ThreadLedger } from '../../sys/index.ts';
import { DeviceState } from '../../virtio-blk/index.ts';
import { createControlReactor } from '../control-reactor.ts';
import type { DiskFacts, DiskWorkerData, DiskWorkerMessage } from './disk-worker-messages.ts';
import { type CommandTaker, QueueCommands } from './queue-commands.ts';
import { QueueRunner } from './queue-runner.ts';

const port = parentPort;
if (port === null) throw new Error('this module is the body of a worker thread');

function say(message: DiskWorkerMessage): void {
  port?.postMessage(message);
}

const logger: Logger = {
  debug: (message) => say({ kind: 'log', level: 'debug', message }),
  info: (message) => say({ kind: 'log', level: 'info', message }),
  warn: (message) => say({ kind: 'log', level: 'warn', message }),
  error: (message) => say({ kind: 'log', level: 'error', message }),
};

function factsOf({ kind, description, info, needsOutside, below }: Disk): DiskFacts {
  return { kind, description, info, needsOutside, below: below.map(factsOf) };
}

function saySize(disk: Disk): void {
  say({ kind: 'resized', sizeBytes: disk.currentSizeBytes() });
}

/** The disk; if there is none, the other thread is told why, and this one ends. */
async function open({ disk, options }: DiskWorkerData): Promise<Disk> {
  try {
    return await openDisk(parseDisk(disk), { ...options, logger });
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    say({ kind: 'refused-disk', code: error.code, message: error.message });
    process.exit();
  }
}

function serve(
  disk: Disk,
  { engine, wakeFd }: DiskWorkerData,
  commands: NonNullable<typeof port>,
): void {
  const { reactor, because } = createControlReactor(engine);
  const home = new AttachedHome(reactor);
  const end = (): void => {
    home.close();
    reactor[Symbol.dispose]();
    // Whatever the disk's code has left running.
    process.exit();
  };
  const taker: CommandTaker = {
    runner: undefined,
    begin: ({ state, counters, serial }) => {
      taker.runner = new QueueRunner({
        ...{ reactor, disk, counters, serial },
        state: new DeviceState(state),
      });
      logger.info(`disk worker uses ${reactor.engine}: ${because}`);
    },
    look: () => saySize(disk),
    close: async () => {
      await disk.close();
      setImmediate(end);
    },
    leave: end,
  };
  new QueueCommands(reactor, wakeFd, commands, taker);
}

const data = workerData as DiskWorkerData;
ThreadLedger.keep(data.ledger);
const disk = await open(data);
disk.useLogger?.(logger);
disk.onResize?.(() => saySize(disk));
serve(disk, data, port);
say({ kind: 'opened', disk: factsOf(disk) });
