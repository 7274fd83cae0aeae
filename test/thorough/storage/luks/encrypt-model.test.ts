/**
 * Random requests on encrypted disks against a model: containers of both versions, with all sizes of
 * sectors, requests that are no multiple of them, memory in odd pieces, disks below that are done at
 * once and that are not.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { encrypt, file, openDisk } from '../../../../src/storage/index.ts';
import type { FormatLuksOptions } from '../../../../src/storage/tools.ts';
import { DiskSession, ENGINES } from '../../../support/disk-session.ts';
import { bytesOf, luksImage, PASSPHRASE } from '../../../support/luks-image.ts';
import { batchesArbitrary, ModelledDisk } from '../../../support/modelled-disk.ts';
import { propertyOptions } from '../../../support/property-options.ts';

const SIZE_BYTES = 256 * 1024;
const SHARED_MEMORY = '/dev/shm';

const CONTAINERS: readonly Partial<FormatLuksOptions>[] = [
  { version: 1 },
  { version: 1, cipher: 'aes-cbc-essiv:sha256' },
  { version: 2, sectorBytes: 512, keyBits: 256 },
  { version: 2, sectorBytes: 1024 },
  { version: 2, sectorBytes: 2048 },
  { version: 2, sectorBytes: 4096 },
];

async function compareWithModel(
  t: TestContext,
  engine: 'io_uring' | 'epoll',
  container: Partial<FormatLuksOptions>,
  place: { readonly folder?: string; readonly cache?: 'none'; readonly runs: number },
): Promise<void> {
  const { folder, cache, runs } = place;
  const where = folder === undefined ? {} : { folder };
  const { path, dataOffset } = await luksImage(t, SIZE_BYTES, { ...container, ...where });
  const plan = encrypt(file(path, cache === undefined ? {} : { cache }), {
    passphrase: PASSPHRASE,
  });
  const steps = batchesArbitrary({ sizeBytes: SIZE_BYTES, discardZeroes: false });
  const content = Buffer.alloc(SIZE_BYTES, 0x5a);
  {
    using session = new DiskSession(await openDisk(plan), engine);
    assert.equal(session.write(0, content), 0);
  }
  await fc.assert(
    fc.asyncProperty(steps, async (batches) => {
      using session = new DiskSession(await openDisk(plan), engine);
      const model = new ModelledDisk(session, content);
      model.check();
      for (const batch of batches) model.run(batch);
      model.check();
    }),
    propertyOptions(runs),
  );
  const raw = bytesOf(path, dataOffset, SIZE_BYTES);
  for (let at = 0; at < SIZE_BYTES; at += 512) {
    const isPlain = raw.subarray(at, at + 16).equals(content.subarray(at, at + 16));
    assert.ok(!isPlain, `byte ${at} is not encrypted`);
  }
}

for (const { engine, skip } of ENGINES) {
  for (const container of CONTAINERS) {
    const { version, cipher = 'aes-xts-plain64', sectorBytes = 512 } = container;
    const what = `${engine}, LUKS${version}, ${cipher}, sectors of ${sectorBytes}`;
    test(`${what}: random requests agree with the model`, { skip }, (t) =>
      compareWithModel(t, engine, container, { runs: 12 }),
    );
  }

  const missing = existsSync(SHARED_MEMORY)
    ? false
    : `${SHARED_MEMORY} is missing: mount a tmpfs there`;
  const memory = `${engine}, in memory: random requests agree with the model`;
  test(memory, { skip: skip || missing }, (t) =>
    compareWithModel(t, engine, { sectorBytes: 4096 }, { runs: 12, folder: SHARED_MEMORY }),
  );

  test(`${engine}, direct I/O: random requests agree with the model`, { skip }, (t) =>
    compareWithModel(t, engine, { version: 1 }, { runs: 12, cache: 'none' }),
  );
}
