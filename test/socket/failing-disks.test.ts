/**
 * Disks below a served chain that fail now and then: what has failed is IOERR, or UNSUPP, to the one
 * who asked, and old or new on the disk; all else is as a model says; and the server goes on.
 */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { type AsyncQueue, Blkio } from '../../src/blkio/index.ts';
import { listenAt, VhostUserBlkServer } from '../../src/exports/index.ts';
import {
  type DiskInfo,
  type DiskLike,
  type DiskObject,
  openDisk,
  stats,
  throttle,
} from '../../src/storage/index.ts';
import { createQcow2 } from '../../src/storage/tools.ts';
import { DiskModel } from '../support/disk-model.ts';
import { imageFolder } from '../support/image-folder.ts';
import { allMethods, delayed, memoryObject } from '../support/memory-object.ts';
import {
  ALL_KINDS,
  batchesArbitrary,
  type Outcome,
  type Step,
} from '../support/modelled-access.ts';
import { ModelledDriver } from '../support/modelled-driver.ts';
import { seededRandom } from '../support/power-loss.ts';
import { propertyOptions } from '../support/property-options.ts';
import { patternBytes } from '../support/request-bytes.ts';
import { ServedDisk } from '../support/served-disk.ts';
import { within } from '../support/within.ts';

const DISK_BYTES = 2 ** 20;
const QUEUES = 4;
const SAMPLES = 40;
/** The trigger is looked for more often. */
const LOOK_MS = 100;

/** A driver of what is served at a path. */
async function connect(path: string): Promise<{ device: Blkio; queues: readonly AsyncQueue[] }> {
  const device = new Blkio('virtio-blk-vhost-user');
  device.set('path', path);
  try {
    await within(device.connect(), 'connect');
    device.set('num-queues', QUEUES);
    await within(device.start(), 'start');
    const queues = Array.from({ length: QUEUES }, (_, index) => device.asyncQueue(index));
    return { device, queues };
  } catch (error) {
    device.close();
    throw error;
  }
}

/** Batches of a run with a seed. */
function batchesOf({ model }: ModelledDriver, seed: number, count: number): Step[][] {
  const info = { logicalBlockBytes: 512 } as DiskInfo;
  const options = { kinds: ALL_KINDS, maxBatches: 5, mayOverlap: false };
  const chosen = propertyOptions(1).seed ?? 0;
  const arbitrary = batchesArbitrary(model, info, options);
  return fc.sample(arbitrary, { numRuns: count, seed: seed + chosen }).flat();
}

/** A driver whose disk has content, each sector its own. */
async function filled(queues: readonly AsyncQueue[]): Promise<ModelledDriver> {
  const driver = new ModelledDriver(queues, new DiskModel(DISK_BYTES, 512, 'zeros-or-kept'));
  const flags = { stable: false, mayUnmap: false, skew: 0 };
  const parts = Array.from({ length: 16 }, (_, part): Step => {
    const bytes = DISK_BYTES / 16;
    return { ...flags, kind: 'write', at: part * bytes, bytes, seed: part + 1 };
  });
  await driver.run(parts);
  return driver;
}

interface Faulty {
  readonly failed: readonly { readonly step: Step; readonly error: Error }[];
  readonly wellCount: number;
}

/** Random requests while the disk below fails. */
async function runFaulty(driver: ModelledDriver, seed: number): Promise<Faulty> {
  const failed: { step: Step; error: Error }[] = [];
  let wellCount = 0;
  for (const batch of batchesOf(driver, seed, SAMPLES)) {
    const outcomes: readonly Outcome[] = await driver.runFaulty(batch);
    outcomes.forEach((error, index) => {
      if (error === undefined) wellCount += 1;
      else failed.push({ step: batch[index], error });
    });
  }
  return { failed, wellCount };
}

/** All goes well from now on, and is as the model says. */
async function runWell(driver: ModelledDriver, seed: number): Promise<void> {
  await driver.check();
  for (const batch of batchesOf(driver, seed, 10)) await driver.run(batch);
  await driver.check();
}

function codesOf({ failed }: Faulty): (string | undefined)[] {
  return [...new Set(failed.map(({ error }) => (error as { code?: string }).code))];
}

/** A chain, which has the faults of `error(..., CONDITIONS)`. */
interface Chain {
  readonly name: string;
  readonly disk: string;
  /** The filter that fails is what is served: each failure is one of a request. */
  readonly isExact?: boolean;
}

const CHAINS: readonly Chain[] = [
  { name: 'the disk itself', disk: 'error(memory(1M), COND)', isExact: true },
  {
    name: 'filters in queue threads',
    disk: 'stats(throttle(delay(error(file(IMAGE), COND), write=1), iops-total=100000))',
    isExact: true,
  },
  { name: 'concat', disk: 'concat(error(memory(512K), COND), error(memory(512K), COND))' },
  { name: 'log', disk: 'log(error(memory(1M), COND), file=FOLDER/trace)', isExact: true },
  {
    name: 'cache, write-through',
    disk: 'cache(error(memory(1M), COND), size=256K, block=8K, read-ahead=64K)',
  },
  {
    name: 'cache, write-back',
    disk: 'cache(error(memory(1M), COND), size=256K, block=8K, mode=write-back)',
  },
  { name: 'checksum', disk: 'checksum(error(memory(1M), COND), file=FOLDER/sums)' },
  { name: 'snapshot', disk: 'snapshot(error(memory(1M), COND), file=FOLDER/snapshots)' },
  { name: 'qcow2', disk: 'qcow2(error(file(QCOW2), COND))' },
  {
    name: 'snapshot over cache over qcow2',
    disk: 'snapshot(cache(qcow2(error(file(QCOW2), COND)), size=256K, block=8K), file=FOLDER/snapshots)',
  },
];

/** What a chain is served as, with a trigger for its faults. */
async function prepare(folder: string, disk: string, conditions: string): Promise<string> {
  const image = join(folder, 'image');
  const container = join(folder, 'image.qcow2');
  writeFileSync(image, new Uint8Array(DISK_BYTES));
  await createQcow2(container, { sizeBytes: DISK_BYTES, clusterBytes: 4096 });
  return disk
    .replaceAll('COND', `file=${join(folder, 'trigger')}, ${conditions}`)
    .replaceAll('IMAGE', image)
    .replaceAll('QCOW2', container)
    .replaceAll('FOLDER', folder);
}

suite('a disk below fails at random, as the filter error has it', () => {
  for (const { name, disk: chain, isExact = false } of CHAINS) {
    test(name, async (t) => {
      const folder = imageFolder(t);
      const trigger = join(folder, 'trigger');
      const chosen = await prepare(folder, chain, 'rate=0.1, seed=7');
      const args = [`--disk=${chosen}`, `--num-queues=${QUEUES}`, '--threads=2'];
      await using served = await ServedDisk.start({ args });
      const { device, queues } = await connect(served.socketPath);
      try {
        const driver = await filled(queues);
        writeFileSync(trigger, '');
        await sleep(LOOK_MS);
        const outcome = await runFaulty(driver, 1);
        rmSync(trigger);
        await sleep(LOOK_MS);
        assert.deepEqual(codesOf(outcome), ['EIO']);
        assert.ok(outcome.failed.length > 10, `${outcome.failed.length} have failed`);
        assert.ok(outcome.wellCount > 50, `${outcome.wellCount} went well`);
        await runWell(driver, 2);
        device.close();
        const errors = isExact ? outcome.failed.length : '\\d+';
        await served.server.logged(new RegExp(`client 1 disconnected: .*diskErrors ${errors}\\b`));
        // The next client finds the same disk.
        const next = await connect(served.socketPath);
        await new ModelledDriver(next.queues, driver.model).check();
        next.device.close();
        const { code, stderr } = await served.server.stop();
        assert.equal(code, 0, stderr);
        assert.doesNotMatch(stderr, /internal error/);
      } finally {
        device.close();
      }
    });
  }
});

suite('statuses', () => {
  const cases = [
    ['EIO', 'EIO'],
    ['ENOSPC', 'EIO'],
    ['EOPNOTSUPP', 'ENOTSUP'],
  ] as const;
  for (const [errno, code] of cases) {
    for (const disk of [
      'error(memory(1M), COND)',
      'log(error(memory(1M), COND), file=FOLDER/trace)',
    ]) {
      test(`${errno} of ${disk} is ${code === 'EIO' ? 'IOERR' : 'UNSUPP'}`, async (t) => {
        const folder = imageFolder(t);
        const trigger = join(folder, 'trigger');
        const chosen = await prepare(
          folder,
          disk,
          `errno=${errno}, on=read+write+discard, rate=0.3`,
        );
        await using served = await ServedDisk.start({
          args: [`--disk=${chosen}`, `--num-queues=${QUEUES}`],
        });
        const { device, queues } = await connect(served.socketPath);
        try {
          const driver = await filled(queues);
          writeFileSync(trigger, '');
          await sleep(LOOK_MS);
          const outcome = await runFaulty(driver, 3);
          rmSync(trigger);
          await sleep(LOOK_MS);
          assert.deepEqual(codesOf(outcome), [code]);
          const kinds = new Set(outcome.failed.map(({ step }) => step.kind));
          assert.deepEqual(kinds, new Set(['read', 'write', 'discard']));
          await runWell(driver, 4);
        } finally {
          device.close();
        }
      });
    }
  }
});

test('a range that fails: requests that touch it, and no others', async (t) => {
  const folder = imageFolder(t);
  const [from, to] = [300 * 1024, 420 * 1024];
  const conditions = `from=${from}, to=${to}`;
  const disk = await prepare(folder, 'stats(error(file(IMAGE), COND))', conditions);
  await using served = await ServedDisk.start({
    args: [`--disk=${disk}`, `--num-queues=${QUEUES}`, '--threads=2'],
  });
  const { device, queues } = await connect(served.socketPath);
  try {
    const driver = await filled(queues);
    writeFileSync(join(folder, 'trigger'), '');
    await sleep(LOOK_MS);
    let failures = 0;
    for (const batch of batchesOf(driver, 5, SAMPLES)) {
      const outcomes = await driver.runFaulty(batch);
      batch.forEach(({ kind, at, bytes }, index) => {
        const isTouched = kind !== 'flush' && at < to && at + bytes > from;
        assert.equal(outcomes[index] !== undefined, isTouched, JSON.stringify(batch[index]));
        if (isTouched) failures += 1;
      });
    }
    assert.ok(failures > 10, `${failures} have failed`);
    rmSync(join(folder, 'trigger'));
    await sleep(LOOK_MS);
    await runWell(driver, 6);
  } finally {
    device.close();
  }
});

/** Fails now and then, in all the ways that a method can. */
function throwing(object: DiskObject, isFailing: () => boolean): DiskObject {
  const random = seededRandom(9);
  const failures: readonly (() => Error)[] = [
    () => new Error('out of order'),
    () => Object.assign(new Error('full'), { code: 'ENOSPC' }),
    () => new TypeError('x is not a function'),
  ];
  const faulty = (method: (...args: never[]) => void | Promise<void>) => {
    const call = method.bind(object) as (...args: unknown[]) => void | Promise<void>;
    return (...args: unknown[]): void | Promise<void> => {
      if (!isFailing() || random() > 0.15) return call(...args);
      const error = failures[Math.floor(random() * failures.length)]();
      const kind = random();
      if (kind < 0.3) throw error;
      if (kind < 0.6) return Promise.reject(error);
      // It is done all the same.
      return Promise.resolve(call(...args))
        .then(() => sleep(1))
        .then(() => Promise.reject(error));
    };
  };
  const { read, write, flush, discard, writeZeroes } = object;
  assert.ok(write && flush && discard && writeZeroes);
  return {
    ...object,
    read: faulty(read),
    write: faulty(write),
    flush: faulty(flush),
    discard: faulty(discard),
    writeZeroes: faulty(writeZeroes),
  };
}

suite('a disk object that throws', () => {
  const cases: Readonly<Record<string, (object: DiskObject) => DiskLike>> = {
    'as it is': (object) => object,
    'with methods that take their time': (object) => delayed(object),
    'below filters': (object) => stats(throttle(object, { iopsTotal: 100_000 })),
  };
  for (const [name, make] of Object.entries(cases)) {
    test(name, async (t) => {
      const memory = Uint8Array.from(patternBytes(DISK_BYTES, 4));
      let isFailing = false;
      const object = { ...memoryObject(memory), ...allMethods(memory) };
      const disk = await openDisk(make(throwing(object, () => isFailing)));
      const path = join(imageFolder(t), 'socket');
      const server = await VhostUserBlkServer.start({
        disk,
        socket: listenAt(path),
        numQueues: QUEUES,
      });
      const { device, queues } = await connect(path);
      try {
        const driver = await filled(queues);
        isFailing = true;
        const outcome = await runFaulty(driver, 7);
        isFailing = false;
        assert.deepEqual(codesOf(outcome), ['EIO']);
        assert.ok(outcome.failed.length > 10, `${outcome.failed.length} have failed`);
        assert.equal(server.counters.diskErrors, outcome.failed.length);
        await runWell(driver, 8);
        assert.equal(server.counters.diskErrors, outcome.failed.length);
      } finally {
        device.close();
        await within(server.close(), 'the end of the server');
        await disk.close();
      }
    });
  }
});
