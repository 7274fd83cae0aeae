/** Checks of what requests do, made by code of this thread. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DiskOperation, openAccess } from '../../src/storage/index.ts';
import { ChannelSession } from './channel-session.ts';
import {
  type DiskCheck,
  type DiskUnderTest,
  modelOf,
  openIt,
  withAccess,
} from './conformance-place.ts';
import { type RequestKind, SECTOR_BYTES } from './disk-model.ts';
import type { Piece } from './disk-session.ts';
import {
  ALL_KINDS,
  type BatchOptions,
  batchesArbitrary,
  ModelledAccess,
  type Step,
} from './modelled-access.ts';
import { propertyOptions } from './property-options.ts';
import { patternBytes } from './request-bytes.ts';

const RUNS = 25;
const PLAIN = { stable: false, mayUnmap: false, skew: 0, seed: 1 } as const;

function kindsOf(readOnly: boolean | undefined): readonly RequestKind[] {
  return readOnly === true ? ['read', 'flush'] : ALL_KINDS;
}

async function runRandom(modelled: ModelledAccess, options: BatchOptions): Promise<void> {
  const { access, model } = modelled;
  const batches = batchesArbitrary(model, access.info, options);
  const property = fc.asyncProperty(batches, async (each) => {
    for (const batch of each) await modelled.run(batch);
  });
  // The disk is used further and further: another try begins with other content.
  await fc.assert(property, { ...propertyOptions(RUNS), endOnFailure: true });
  await modelled.check('in the end');
}

/** Requests of all small sizes at all small offsets around a place, each compared. */
async function sweep(modelled: ModelledAccess, center: number): Promise<void> {
  const { access, model } = modelled;
  const block = access.info.logicalBlockBytes;
  const steps: Step[] = [];
  for (let offset = -3; offset <= 3; offset++) {
    for (const blocks of [1, 2, 3, 5, 8]) {
      const at = center + offset * block;
      const bytes = blocks * block;
      if (at < 0 || bytes > model.roomAt(at)) continue;
      steps.push({ ...PLAIN, kind: 'write', at, bytes, skew: blocks, seed: at + bytes });
    }
  }
  for (const step of steps) {
    if (access.info.readOnly) await modelled.run([{ ...step, kind: 'read' }]);
    else await modelled.run([step]);
    const from = Math.max(0, step.at - block);
    const bytes = Math.min(step.bytes + 2 * block, model.roomAt(from));
    await modelled.run([{ ...step, kind: 'read', at: from, bytes }]);
  }
}

/** Requests of sectors through a channel: of one block several at a time, from memory in pieces. */
async function checkSectors(disk: DiskUnderTest): Promise<void> {
  const open = await openIt(disk);
  const { info } = open;
  const model = modelOf(open, disk.traits);
  const canCompare = disk.traits.keepsData ?? true;
  const sectors = Math.min(32, model.sizeBytes / SECTOR_BYTES);
  {
    using session = new ChannelSession(open);
    const piecesOf = (sector: number): Piece[] => [
      { at: sector * 1024 + 7, bytes: 200 },
      { at: sector * 1024 + 300, bytes: SECTOR_BYTES - 200 },
    ];
    const bytesOf = (sector: number): Buffer =>
      Buffer.concat(
        piecesOf(sector).map(({ at, bytes }) => session.memory.subarray(at, at + bytes)),
      );
    const runAll = async (operation: number): Promise<void> => {
      const ends = Array.from({ length: sectors }, (_, sector) =>
        session.run({ operation, offset: sector * SECTOR_BYTES, pieces: piecesOf(sector) }),
      );
      assert.deepEqual(new Set(await Promise.all(ends)), new Set([0]));
    };
    if (!info.readOnly) {
      session.memory.set(patternBytes(sectors * 1024, 3));
      await runAll(DiskOperation.WRITE);
      for (let sector = 0; sector < sectors; sector++) {
        model.done('write', sector * SECTOR_BYTES, SECTOR_BYTES, bytesOf(sector));
      }
    }
    session.memory.fill(0xee);
    await runAll(DiskOperation.READ);
    for (let sector = 0; sector < sectors && canCompare; sector++) {
      const expected = model.expected(sector * SECTOR_BYTES, SECTOR_BYTES);
      expected.check(bytesOf(sector), `sector ${sector}`);
    }
  }
  const access = openAccess(open);
  await new ModelledAccess(access, model, canCompare).check('in the end');
  access.close();
  await open.close();
}

/** See the module's comment. */
export const accessChecks: readonly DiskCheck[] = [
  {
    name: 'a new disk holds what it says',
    isFor: ({ content, showsLower }) => content !== undefined || showsLower === true,
    run: (disk) => withAccess(disk, (modelled) => modelled.check('at the start')),
  },
  {
    name: 'random requests, several at a time, agree with the model',
    run: (disk) =>
      withAccess(disk, async (modelled) => {
        const kinds = kindsOf(disk.traits.readOnly);
        if (disk.traits.readOnly !== true) await modelled.fill(5);
        await runRandom(modelled, { kinds, maxBatches: 8, mayOverlap: false });
      }),
  },
  {
    name: 'requests that touch the same bytes are done in the order they come',
    isFor: ({ ordersRequests }) => ordersRequests === true,
    run: (disk) =>
      withAccess(disk, async (modelled) => {
        const kinds = kindsOf(disk.traits.readOnly);
        await runRandom(modelled, { kinds, maxBatches: 8, mayOverlap: true });
        // All at once on a few blocks.
        const block = modelled.access.info.logicalBlockBytes;
        const steps = Array.from({ length: 200 }, (_, seed): Step => {
          const at = (seed % 3) * block;
          const kind = kinds[seed % kinds.length];
          return { ...PLAIN, kind, at, bytes: block * ((seed % 4) + 1), seed: seed + 1 };
        });
        await modelled.run(steps);
        await modelled.check('all at once');
      }),
  },
  {
    name: 'offsets and sizes of all alignments',
    run: (disk) =>
      withAccess(disk, async (modelled) => {
        const { model, access } = modelled;
        if (!access.info.readOnly) await modelled.fill(9);
        for (const center of [0, 4096, 65536, model.sizeBytes - access.info.logicalBlockBytes]) {
          if (center < model.sizeBytes) await sweep(modelled, center);
        }
        await modelled.check('in the end');
      }),
  },
  {
    name: 'more requests than can be under way',
    run: (disk) =>
      withAccess(disk, async (modelled) => {
        const { model, access } = modelled;
        const bytes = access.info.logicalBlockBytes;
        const count = Math.min(1000, model.sizeBytes / bytes);
        const steps = Array.from({ length: count }, (_, index): Step => {
          const kind = access.info.readOnly ? 'read' : 'write';
          return { ...PLAIN, kind, at: index * bytes, bytes, seed: index + 1 };
        });
        await modelled.run(steps);
        await modelled.run(steps.map((step): Step => ({ ...step, kind: 'read' })));
      }),
  },
  {
    name: 'what is read is what the last write has left, one after the other',
    isFor: ({ readOnly }) => readOnly !== true,
    run: (disk) =>
      withAccess(disk, async (modelled) => {
        const { access } = modelled;
        const bytes = 2 * access.info.logicalBlockBytes;
        for (let seed = 1; seed <= 100; seed++) {
          const kind = seed % 5 === 0 ? 'zero' : 'write';
          await modelled.run([{ ...PLAIN, kind, at: 0, bytes, seed }]);
          await modelled.run([{ ...PLAIN, kind: 'read', at: 0, bytes }]);
          if (seed % 10 === 0) await modelled.run([{ ...PLAIN, kind: 'flush', at: 0, bytes }]);
        }
      }),
  },
  {
    name: 'single sectors, whatever the blocks are, as firmware asks for them',
    run: checkSectors,
  },
  {
    name: 'nothing is to be done of no bytes',
    run: (disk) =>
      withAccess(disk, async ({ access }) => {
        await access.read(new Uint8Array(0), 0);
        if (access.info.readOnly) return;
        await access.write(new Uint8Array(0), 0);
        await access.discard(0, 0);
        await access.writeZeroes(0, 0);
        assert.equal(access.currentSizeBytes(), access.info.sizeBytes);
      }),
  },
];
