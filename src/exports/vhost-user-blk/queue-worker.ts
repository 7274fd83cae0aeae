/**
 * A queue worker: a thread with a reactor in a blocking home, on which a device's queues run.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { adoptDisk } from '../../storage/index.ts';
import { BlockingHome, createReactor, restrictByLandlock, SystemError } from '../../sys/index.ts';
import { DeviceState } from '../../virtio-blk/index.ts';
import { QueueRunner } from './queue-runner.ts';
import type { QueueCommand, QueueWorkerData, QueueWorkerMessage } from './queue-worker-messages.ts';

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
  const landlockRefusal = restrict(data.landlockRuleset);
  const say = (message: QueueWorkerMessage): void => port.postMessage(message);
  const { reactor, because } = createReactor('blocking', data.engine);
  const home = new BlockingHome(reactor, data.maxPollUs);
  const disk = adoptDisk(data.disk);
  const runner = new QueueRunner({
    reactor,
    disk,
    state: new DeviceState(data.state),
    counters: data.counters,
    serial: data.serial,
  });

  const obey = (command: QueueCommand): void => {
    const done = (base = 0): void => say({ kind: 'done', id: command.id, base });
    switch (command.kind) {
      case 'set-memory':
        runner.setMemory(command.regions);
        break;
      case 'set-log':
        runner.setLog(command.log);
        break;
      case 'run': {
        const { index } = command.setup;
        runner.runRing(command.setup, (reason) => say({ kind: 'broken', index, reason }));
        break;
      }
      case 'rewire':
        runner.rewireRing(command.setup);
        break;
      case 'halt':
        runner.haltRing(command.index, done);
        return;
      case 'close':
        runner.close();
        disk.close();
        home.stop();
        break;
      case 'leave':
        home.stop();
        return;
    }
    done();
  };

  reactor.watch(data.wakeFd, {
    onReadable: () => {
      for (;;) {
        const received = receiveMessageOnPort(port);
        if (received === undefined) break;
        obey(received.message as QueueCommand);
      }
      // Commands let go of memory; finalizers then unmap it.
      home.yieldToEventLoop();
    },
  });
  say({ kind: 'ready', engine: reactor.engine, because, landlockRefusal });
  await home.run();
  reactor[Symbol.dispose]();
}

await work(workerData as QueueWorkerData);
