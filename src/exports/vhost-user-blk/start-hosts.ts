/** Starts what a device's queues are served by, as its disk wants it. */
import type { Disk } from '../../storage/index.ts';
import {
  abandonAll,
  type EngineChoice,
  type Logger,
  type Reactor,
  takeAll,
} from '../../sys/index.ts';
import type { DeviceState } from '../../virtio-blk/index.ts';
import { LocalQueueHost } from './local-queue-host.ts';
import type { QueueHost } from './queue-host.ts';
import { RemoteQueueHost } from './remote-queue-host.ts';
import { WorkerDisk } from './worker-disk.ts';

export interface HostOptions {
  readonly disk: Disk;
  /** Threads to share the queues, if the disk can be served by any; 0: the calling one. */
  readonly threads: number;
  /** Of the calling thread. */
  readonly reactor: Reactor;
  readonly state: DeviceState;
  readonly counters: SharedArrayBuffer;
  readonly serial: string;
  readonly maxPollUs: number;
  readonly engine: EngineChoice;
  readonly landlockRuleset: number | undefined;
  readonly logger: Logger;
  /** A worker has died of an internal error. */
  readonly onFailure: (error: Error) => void;
}

/** See the module's comment. Resolves when they are ready; if one cannot be had, there are none. */
export async function startHosts(options: HostOptions): Promise<readonly QueueHost[]> {
  const { disk, threads, reactor, state, counters, serial, logger, onFailure } = options;
  if (disk instanceof WorkerDisk) {
    const serving = { state: state.buffer, counters, serial };
    return [await disk.startHost(serving, onFailure)];
  }
  if (threads === 0 || disk.needsEventLoop !== undefined) {
    if (threads > 0) logger.info(`queues are served on the main thread: ${disk.needsEventLoop}`);
    return [new LocalQueueHost({ reactor, disk, state, counters, serial })];
  }
  const { maxPollUs, engine, landlockRuleset } = options;
  const start = (): Promise<QueueHost> =>
    RemoteQueueHost.start({
      ...{ serial, maxPollUs, engine, landlockRuleset, counters, logger, onFailure },
      state: state.buffer,
      disk: disk.share(),
    });
  const results = await Promise.allSettled(Array.from({ length: threads }, async () => start()));
  const hosts = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const refused = results.find(({ status }) => status === 'rejected');
  if (refused?.status !== 'rejected') return hosts;
  await abandonAll(hosts);
  throw refused.reason;
}

/** Close each, though one cannot be: that is rejected with in the end. */
export function closeHosts(hosts: readonly QueueHost[]): Promise<void> {
  return takeAll(hosts.map((host) => () => host.close()));
}
