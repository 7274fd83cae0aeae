/**
 * A queue worker: a thread with a reactor in a blocking home, on which a device's queues run.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { adoptDisk } from '../../storage/index.ts';
import {
  BlockingHome,
  createReactor,
  restrictByLandlock,
  SystemError,
  ThreadLedger,
} from '../../sys/index.ts';
import { DeviceState } from '../../virtio-blk/index.ts';
import { QueueCommands } from './queue-commands.ts';
import { QueueRunner } from './queue-runner.ts';
import type { QueueWorkerData, QueueWorkerMessage } from './queue-worker-messages.ts';

/**
 * Give up what a worker does not need, now that it has read its modules. Returns why it is refused:
 * the thread that made the ruleset is refused it, too, and decides what becomes of that.
 */
function restrict(landlockRuleset: number | undefined): string | undefined {
  if (landlockRuleset === undefined) return undefined;
  try {
    restrictByLandlock(landlockRuleset);
    return undefined;
  } catch (error) {
    if (error instanceof SystemError) return error.message;
    throw error;
  }
}

async function work(data: QueueWorkerData): Promise<void> {
  const port = parentPort;
  if (port === null) throw new Error('this module is the body of a worker thread');
  ThreadLedger.keep(data.ledger);
  // It may have to open a file again.
  const disk = adoptDisk(data.disk);
  const landlockRefusal = restrict(data.landlockRuleset);
  const { reactor, because } = createReactor('blocking', data.engine);
  const home = new BlockingHome(reactor, data.maxPollUs);
  const runner = new QueueRunner({
    reactor,
    disk,
    state: new DeviceState(data.state),
    counters: data.counters,
    serial: data.serial,
  });
  new QueueCommands(reactor, data.wakeFd, port, {
    runner,
    close: () => {
      // At once: disks that take time are not served here.
      void disk.close();
      home.stop();
    },
    leave: () => home.stop(),
    // Commands let go of memory; finalizers then unmap it.
    afterCommands: () => home.yieldToEventLoop(),
  });
  const ready: QueueWorkerMessage = {
    kind: 'ready',
    engine: reactor.engine,
    because,
    landlockRefusal,
  };
  port.postMessage(ready);
  await home.run();
  reactor[Symbol.dispose]();
}

await work(workerData as QueueWorkerData);
