/** Checks of a disk that is served over vhost-user, with our own driver side as the guest. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import fc from 'fast-check';
import { type AsyncQueue, Blkio } from '../../src/blkio/index.ts';
import { listenAt, VhostUserBlkServer } from '../../src/exports/index.ts';
import type { Disk } from '../../src/storage/index.ts';
import { type DiskCheck, type DiskUnderTest, modelOf, openIt } from './conformance-place.ts';
import type { DiskModel } from './disk-model.ts';
import { ALL_KINDS, batchesArbitrary } from './modelled-access.ts';
import { ModelledDriver } from './modelled-driver.ts';
import { propertyOptions } from './property-options.ts';
import { within } from './within.ts';

const NUM_QUEUES = 2;
const RUNS = 12;

/** A served disk, with a driver of it. */
interface ServedParts {
  readonly disk: Disk;
  readonly device: Blkio;
  readonly queues: readonly AsyncQueue[];
  readonly server: VhostUserBlkServer;
}

async function withServed(
  under: DiskUnderTest,
  body: (parts: ServedParts) => Promise<void>,
): Promise<void> {
  const disk = await openIt(under);
  const path = join(under.place.folder, 'socket');
  const socket = listenAt(path);
  const server = await VhostUserBlkServer.start({ disk, socket, numQueues: NUM_QUEUES });
  const device = new Blkio('virtio-blk-vhost-user');
  device.set('path', path);
  device.set('read-only', disk.info.readOnly);
  try {
    await within(device.connect(), 'connect');
    device.set('num-queues', NUM_QUEUES);
    await within(device.start(), 'start');
    const queues = Array.from({ length: NUM_QUEUES }, (_, index) => device.asyncQueue(index));
    await body({ disk, device, queues, server });
  } finally {
    device.close();
    await within(server.close(), 'the end of the server');
    await disk.close();
  }
}

/** Capacity and blocks are those of the disk. */
function checkDevice({ disk, device, server }: ServedParts): void {
  const { info } = disk;
  assert.equal(device.capacityBytes, info.sizeBytes);
  assert.equal(device.get('request-alignment'), info.logicalBlockBytes);
  assert.equal(device.get('read-only'), info.readOnly);
  assert.equal(server.counters.diskErrors, 0);
}

/** What the disk does not offer is refused. */
async function checkRefusals({ disk, queues }: ServedParts): Promise<void> {
  const { info } = disk;
  const bytes = info.logicalBlockBytes;
  const [queue] = queues;
  if (!info.canDiscard) await assert.rejects(queue.discard(0, bytes));
  if (info.readOnly) {
    await assert.rejects(queue.write(0, new Uint8Array(bytes)));
    await assert.rejects(queue.writeZeroes(0, bytes));
  }
}

async function checkServed(under: DiskUnderTest, parts: ServedParts): Promise<DiskModel> {
  const { traits } = under;
  checkDevice(parts);
  const { info } = parts.disk;
  const model = modelOf(parts.disk, traits);
  const driver = new ModelledDriver(parts.queues, model, traits.keepsData ?? true);
  await checkRefusals(parts);
  await driver.check();
  const kinds = ALL_KINDS.filter((kind) => {
    if (kind === 'discard') return info.canDiscard;
    if (kind === 'zero') return info.canWriteZeroes;
    return kind === 'read' || kind === 'flush' || !info.readOnly;
  });
  const options = { kinds, maxBatches: 6, mayOverlap: false };
  const batches = batchesArbitrary(model, info, options);
  await fc.assert(
    fc.asyncProperty(batches, async (each) => {
      for (const batch of each) await driver.run(batch);
    }),
    { ...propertyOptions(RUNS), endOnFailure: true },
  );
  await driver.check();
  return model;
}

/** See the module's comment. */
export const servedChecks: readonly DiskCheck[] = [
  {
    name: 'served over vhost-user, by queue threads or the event loop, it is the same disk',
    run: async (under) => {
      let model: DiskModel | undefined;
      await withServed(under, async (parts) => {
        model = await checkServed(under, parts);
        const { counters } = parts.server;
        assert.equal(counters.diskErrors, 0);
        assert.ok(counters.reads > 0);
      });
      if (under.traits.isPersistent !== true || model === undefined) return;
      const left = model;
      await withServed(under, (parts) => new ModelledDriver(parts.queues, left, true).check());
    },
  },
];
