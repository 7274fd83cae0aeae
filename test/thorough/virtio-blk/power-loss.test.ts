/**
 * The power goes at any moment of random sessions: what was acknowledged after a FLUSH, or in
 * write-through mode, or to a driver that cannot flush, is there.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { CacheMode, FileDiskHandle } from '../../../src/storage/index.ts';
import { createReactor, type EngineName } from '../../../src/sys/index.ts';
import { BlockFeature, RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { rangeBytes } from '../../support/block-chains.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { ALL_FEATURES } from '../../support/parser-bench.ts';
import { PowerLossRecorder, seededRandom } from '../../support/power-loss.ts';
import {
  FIRST_VALUE,
  PromisedSectors,
  type SectorChange,
  sectorsOf,
} from '../../support/promised-sectors.ts';
import { propertyOptions } from '../../support/property-options.ts';
import { missingEngine } from '../../support/reactors.ts';
import { type Answer, type Sent, ServedQueue } from '../../support/served-queue.ts';
import { openWatchedFile } from '../../support/watched-file.ts';

const DISK_SECTORS = 256;
const MAX_SECTORS = 24;
/** Images of each session. */
const CRASHES = 24;
const DEADLINE_MS = 20_000;

const without = (bit: number): bigint => ALL_FEATURES & ~(1n << BigInt(bit));

/** Drivers differ in what they have negotiated. */
const DRIVERS = {
  'switches the cache': ALL_FEATURES,
  'only flushes': without(BlockFeature.CONFIG_WCE),
  'cannot flush': without(BlockFeature.FLUSH),
} as const;

type Driver = keyof typeof DRIVERS;

interface Step {
  readonly kind: 'write' | 'zero' | 'unmap' | 'discard' | 'flush';
  readonly sector: number;
  readonly sectors: number;
}

/** Requests that are under way at the same time, and the cache's mode from then on. */
interface Round {
  readonly writeback: boolean;
  readonly steps: readonly Step[];
}

const stepArbitrary: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(
    ...([
      'write',
      'write',
      'write',
      'write',
      'flush',
      'flush',
      'zero',
      'unmap',
      'discard',
    ] as const),
  ),
  sector: fc.nat(DISK_SECTORS - MAX_SECTORS - 1),
  sectors: fc.oneof(fc.constantFrom(8, 16), fc.integer({ min: 1, max: MAX_SECTORS })),
});

const sessionArbitrary = fc.record({
  driver: fc.constantFrom(...(Object.keys(DRIVERS) as Driver[])),
  rounds: fc.array(
    fc.record({
      writeback: fc.boolean(),
      steps: fc.array(stepArbitrary, { minLength: 1, maxLength: 6 }).map(withoutOverlap),
    }),
    { minLength: 2, maxLength: 8 },
  ),
  seed: fc.integer(),
});

function withoutOverlap(steps: readonly Step[]): Step[] {
  const taken = new Set<number>();
  return steps.filter(({ kind, sector, sectors }) => {
    if (kind === 'flush') return true;
    const range = Array.from({ length: sectors }, (_, index) => sector + index);
    if (range.some((each) => taken.has(each))) return false;
    for (const each of range) taken.add(each);
    return true;
  });
}

interface Place {
  readonly path: string;
  readonly engine: EngineName;
  readonly cache: CacheMode;
  readonly change: (handle: FileDiskHandle) => FileDiskHandle;
}

/** A queue on a disk that is recorded, and what its driver has been promised. */
class RecordedQueue implements Disposable {
  readonly recorder: PowerLossRecorder;
  readonly promised = new PromisedSectors();
  readonly #served: ServedQueue;
  readonly #driver: Driver;
  readonly #turn: () => void;
  readonly #close: () => void;
  #nextValue = FIRST_VALUE + 1;

  constructor({ path, engine, cache, change }: Place, driver: Driver) {
    const content = sectorsOf(FIRST_VALUE, DISK_SECTORS);
    writeFileSync(path, content);
    this.recorder = new PowerLossRecorder(content);
    this.#driver = driver;
    const { reactor } = createReactor('blocking', engine);
    const disk = openWatchedFile({ path, cache }, this.recorder, change);
    const served = new ServedQueue({ disk, reactor, features: DRIVERS[driver] });
    this.#served = served;
    reactor.addSource(served.queue);
    this.#turn = () => void reactor.turn();
    this.#close = () => {
      served.queue.drain(() => served.queue.close());
      reactor.removeSource(served.queue);
      reactor[Symbol.dispose]();
      disk.close();
      served[Symbol.dispose]();
    };
  }

  run({ writeback, steps }: Round): void {
    const { recorder, promised } = this;
    this.#served.state.writeback = writeback;
    const sentAt = recorder.moment();
    const onAnswer = new Map<number, (at: number) => void>();
    for (const step of steps) {
      const entry =
        step.kind === 'flush'
          ? { sentAt, answeredAt: Number.POSITIVE_INFINITY }
          : this.#changeOf(step, sentAt, writeback);
      if ('kind' in entry) promised.changes.push(entry);
      else promised.flushes.push(entry);
      const head = this.#served.add(sentOf(step, 'kind' in entry ? entry.value : 0));
      onAnswer.set(head, (at) => {
        entry.answeredAt = at;
      });
    }
    this.#served.driver.publish();
    this.#await(onAnswer);
  }

  #changeOf({ kind, sector, sectors }: Step, sentAt: number, writeback: boolean): SectorChange {
    const value = this.#nextValue;
    this.#nextValue += 1;
    const isWriteThrough =
      this.#driver === 'cannot flush' || (this.#driver === 'switches the cache' && !writeback);
    const change = kind === 'unmap' ? 'zero' : (kind as SectorChange['kind']);
    const answeredAt = Number.POSITIVE_INFINITY;
    return { kind: change, value, sector, sectors, isWriteThrough, sentAt, answeredAt };
  }

  #await(onAnswer: Map<number, (at: number) => void>): void {
    const deadlineMs = performance.now() + DEADLINE_MS;
    while (onAnswer.size > 0) {
      assert.ok(performance.now() < deadlineMs, 'answered in time');
      this.#turn();
      const answers: Answer[] = this.#served.answers();
      const at = this.recorder.moment();
      for (const { head, status } of answers) {
        assert.equal(status, Status.OK);
        onAnswer.get(head)?.(at);
        onAnswer.delete(head);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#close();
  }
}

function sentOf({ kind, sector, sectors }: Step, value: number): Sent {
  switch (kind) {
    case 'flush':
      return { type: RequestType.FLUSH };
    case 'write':
      return { type: RequestType.OUT, sector, payload: sectorsOf(value, sectors) };
    case 'discard':
      return { type: RequestType.DISCARD, payload: rangeBytes([{ sector, sectors }]) };
    case 'zero':
    case 'unmap': {
      const flags = kind === 'unmap' ? 1 : 0;
      return { type: RequestType.WRITE_ZEROES, payload: rangeBytes([{ sector, sectors, flags }]) };
    }
  }
}

function losePower(t: TestContext, place: Omit<Place, 'path'>, runs: number): void {
  const path = join(imageFolder(t), 'image');
  let images = 0;
  let promises = 0;
  fc.assert(
    fc.property(sessionArbitrary, ({ driver, rounds, seed }) => {
      using queue = new RecordedQueue({ path, ...place }, driver);
      for (const round of rounds) queue.run(round);
      const random = seededRandom(seed);
      const end = queue.recorder.now;
      for (let crash = 0; crash <= CRASHES; crash++) {
        const moment = crash === CRASHES ? end : Math.floor(random() * end);
        promises += queue.promised.check(queue.recorder.imageAt(moment, random), moment);
        images += 1;
      }
    }),
    propertyOptions(runs),
  );
  t.diagnostic(`${images} images, ${promises} sectors in them promised`);
  assert.ok(promises > images, 'promises were made');
}

const asIs = (handle: FileDiskHandle): FileDiskHandle => handle;
const KINDS: readonly (readonly [name: string, CacheMode, Place['change']])[] = [
  ['writeback', 'writeback', asIs],
  ['writethrough', 'writethrough', asIs],
  ['none', 'none', asIs],
  [
    'none, blocks of 4096 bytes',
    'none',
    (handle) => ({ ...handle, direct: { memoryBytes: 512, offsetBytes: 4096 } }),
  ],
  ['writeback, in memory', 'writeback', (handle) => ({ ...handle, access: 'memory' })],
];

for (const engine of ['io_uring', 'epoll'] as const) {
  const skip = missingEngine(engine) ?? false;
  for (const [name, cache, change] of KINDS) {
    test(`${engine}, cache=${name}: the power goes at any moment`, { skip }, (t) => {
      losePower(t, { engine, cache, change }, 16);
    });
  }
}
