/** Checks of what a disk says of itself. */
import assert from 'node:assert/strict';
import { adoptDisk, type DiskInfo, openAccess, readonly } from '../../src/storage/index.ts';
import {
  type DiskCheck,
  type DiskUnderTest,
  modelOf,
  openIt,
  withAccess,
} from './conformance-place.ts';
import { ModelledAccess } from './modelled-access.ts';

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value));
}

function checkInfo(info: DiskInfo): void {
  const { sizeBytes, logicalBlockBytes, physicalBlockBytes, minIoBytes, optimalIoBytes } = info;
  const about = JSON.stringify(info);
  assert.ok(isPowerOfTwo(logicalBlockBytes) && logicalBlockBytes >= 512, about);
  assert.ok(isPowerOfTwo(physicalBlockBytes) && physicalBlockBytes >= logicalBlockBytes, about);
  assert.ok(Number.isSafeInteger(sizeBytes) && sizeBytes > 0, about);
  assert.equal(sizeBytes % logicalBlockBytes, 0, about);
  for (const bytes of [minIoBytes, optimalIoBytes]) {
    assert.ok(Number.isInteger(bytes) && bytes >= 0 && bytes < 2 ** 32, about);
  }
  for (const name of ['readOnly', 'canDiscard', 'canWriteZeroes', 'writeBack'] as const) {
    assert.equal(typeof info[name], 'boolean', name);
  }
  if (info.readOnly) assert.ok(!info.canDiscard && !info.canWriteZeroes, about);
}

/** Whatever changes a disk is refused, and has changed nothing. */
async function checkRefusals(modelled: ModelledAccess): Promise<void> {
  const { access } = modelled;
  const bytes = access.info.logicalBlockBytes;
  const refused = { code: 'EROFS' };
  const attempt = async (start: () => void | Promise<void>): Promise<void> => start();
  const data = new Uint8Array(bytes).fill(0x55);
  await assert.rejects(
    attempt(() => access.write(data, 0)),
    refused,
  );
  await assert.rejects(
    attempt(() => access.write(data, 0, { stable: true })),
    refused,
  );
  await assert.rejects(
    attempt(() => access.discard(0, bytes)),
    refused,
  );
  await assert.rejects(
    attempt(() => access.writeZeroes(0, bytes)),
    refused,
  );
  await access.flush();
  await modelled.check('after refusals');
}

/** Zeroing as fast as can be, or not at all. */
async function checkFastZeroes(modelled: ModelledAccess): Promise<void> {
  const { access, model } = modelled;
  const bytes = 4 * access.info.logicalBlockBytes;
  for (const mayUnmap of [false, true]) {
    await modelled.fill(3);
    try {
      await access.writeZeroes(model.offsetOf(0), bytes, { mustBeFast: true, mayUnmap });
      model.done('zero', 0, bytes);
      assert.ok(access.info.canWriteZeroes, 'a disk that cannot has done it');
    } catch (error) {
      const { code } = error as { code?: unknown };
      assert.ok(code === 'EOPNOTSUPP' || code === 'ENOTSUP', `code ${String(code)}`);
    }
    await modelled.check(`zeroes that must be fast, mayUnmap ${mayUnmap}`);
  }
}

/** A request at each edge of the disk leaves everything next to it as it was. */
async function checkEdges(modelled: ModelledAccess, kind: 'zero' | 'discard'): Promise<void> {
  const { access, model } = modelled;
  const block = access.info.logicalBlockBytes;
  const end = model.sizeBytes;
  const ranges = [
    [0, block],
    [block, 7 * block],
    [Math.min(65536, end - 2 * block) - block, 2 * block],
    [end - block, block],
    [end - 8 * block, 5 * block],
  ];
  for (const mayUnmap of [false, true]) {
    await modelled.fill(7);
    for (const [at, bytes] of ranges) {
      if (at < 0 || bytes > model.roomAt(at)) continue;
      await modelled.run([{ kind, at, bytes, mayUnmap, stable: false, skew: 0, seed: 1 }]);
      await modelled.check(`${kind} of ${bytes} bytes at ${at}, mayUnmap ${mayUnmap}`);
    }
  }
}

/** A disk that other threads may use is the same there. */
async function checkHandle(disk: DiskUnderTest): Promise<void> {
  const open = await openIt(disk);
  if (open.needsEventLoop === undefined) {
    const adopted = adoptDisk(structuredClone(open.share()));
    assert.deepEqual(adopted.info, open.info);
    assert.equal(adopted.kind, open.kind);
    assert.equal(adopted.needsEventLoop, undefined);
    assert.equal(adopted.currentSizeBytes(), open.currentSizeBytes());
    const access = openAccess(adopted);
    const model = modelOf(open, disk.traits);
    const modelled = new ModelledAccess(access, model, disk.traits.keepsData ?? true);
    await modelled.check('adopted');
    access.close();
  } else {
    assert.match(open.needsEventLoop, /\S/);
  }
  await open.close();
}

const isWritable: DiskCheck['isFor'] = ({ readOnly }) => readOnly !== true;

/** See the module's comment. */
export const capabilityChecks: readonly DiskCheck[] = [
  {
    name: 'what it says of itself makes sense',
    run: (disk) =>
      withAccess(disk, async ({ access }, open) => {
        checkInfo(open.info);
        assert.deepEqual(access.info, open.info);
        assert.equal(open.currentSizeBytes(), open.info.sizeBytes);
        assert.equal(open.info.readOnly, disk.traits.readOnly ?? false);
        assert.deepEqual({ ...open.info, ...disk.traits.info }, open.info);
        for (const text of [open.kind, open.description]) assert.match(text, /^\S.*$/);
        for (const below of open.below) checkInfo(below.info);
      }),
  },
  { name: 'other threads find the same disk', run: checkHandle },
  {
    name: 'a disk that can only be read refuses all else',
    isFor: ({ readOnly }) => readOnly === true,
    run: (disk) => withAccess(disk, (modelled) => checkRefusals(modelled)),
  },
  {
    name: 'opened to read only, it refuses all else',
    isFor: ({ readOnly, isOpen }) => readOnly !== true && isOpen !== true,
    run: async (disk) => {
      const open = await openIt(disk, { readOnly: true });
      checkInfo(open.info);
      assert.ok(open.info.readOnly);
      const access = openAccess(open);
      const model = modelOf(open, disk.traits);
      await checkRefusals(new ModelledAccess(access, model, disk.traits.keepsData ?? true));
      access.close();
      await open.close();
    },
  },
  {
    name: 'below the filter "readonly" it refuses all else',
    run: async (disk) => {
      const wrapped = { ...disk, make: async () => readonly(await disk.make()) };
      await withAccess(wrapped, (modelled) => checkRefusals(modelled));
    },
  },
  {
    name: 'zeroes are where they should be, and nowhere else',
    isFor: isWritable,
    run: (disk) => withAccess(disk, (modelled) => checkEdges(modelled, 'zero')),
  },
  {
    name: 'what is discarded is what was to be, and nothing else',
    isFor: isWritable,
    run: (disk) => withAccess(disk, (modelled) => checkEdges(modelled, 'discard')),
  },
  {
    name: 'zeroes that must be fast are written, or refused with ENOTSUP',
    isFor: isWritable,
    run: (disk) => withAccess(disk, (modelled) => checkFastZeroes(modelled)),
  },
];
