/**
 * Random requests on files against a model: every cache mode, and with direct I/O also memory,
 * offsets and lengths that it can't do itself.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { CACHE_MODES, type CacheMode, openFileDisk } from '../../../src/storage/index.ts';
import { directIoAlignment, type EngineName, Open, openFile } from '../../../src/sys/index.ts';
import { DiskSession, ENGINES } from '../../support/disk-session.ts';
import { cannotLoop, cannotMount, ext4On, loopDevice } from '../../support/host-file-systems.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { batchesArbitrary, ModelledDisk } from '../../support/modelled-disk.ts';
import { propertyOptions } from '../../support/property-options.ts';

const SIZE_BYTES = 256 * 1024;
const SHARED_MEMORY = '/dev/shm';

interface Case {
  readonly engine: EngineName;
  readonly cache: CacheMode;
  /** Where the image lies; the temporary folder unless given. */
  readonly folder?: string;
  readonly blockBytes?: number;
  readonly runs: number;
}

function compareWithModel(t: TestContext, options: Case): void {
  const { engine, cache, blockBytes } = options;
  const path = join(imageFolder(t, options.folder), 'image');
  const open = { path, cache, ...(blockBytes === undefined ? {} : { blockBytes }) };
  fc.assert(
    fc.property(batchesArbitrary({ sizeBytes: SIZE_BYTES, discardZeroes: true }), (batches) => {
      const content = Buffer.alloc(SIZE_BYTES, 0xaa);
      writeFileSync(path, content);
      {
        using session = new DiskSession(openFileDisk(open), engine);
        const model = new ModelledDisk(session, content);
        for (const batch of batches) model.run(batch);
        model.check();
      }
      assert.ok(readFileSync(path).equals(content), 'the file is what the disk was');
    }),
    propertyOptions(options.runs),
  );
}

for (const { engine, skip } of ENGINES) {
  for (const cache of CACHE_MODES) {
    test(`${engine}, cache=${cache}: random requests agree with the model`, { skip }, (t) => {
      compareWithModel(t, { engine, cache, runs: cache === 'writethrough' ? 10 : 30 });
    });
  }

  const missing = existsSync(SHARED_MEMORY)
    ? false
    : `${SHARED_MEMORY} is missing: mount a tmpfs there`;
  for (const cache of ['writeback', 'none'] as const) {
    const name = `${engine}, cache=${cache} in memory: random requests agree with the model`;
    test(name, { skip: skip || missing }, (t) => {
      compareWithModel(t, { engine, cache, runs: 30, folder: SHARED_MEMORY });
    });
  }

  // Requests of 512 bytes on a disk that can do no less than 4096: read, change, write.
  const name = `${engine}, cache=none, blocks of 4096 bytes: random requests agree with the model`;
  test(name, { skip: skip || cannotMount() || cannotLoop() }, (t) => {
    const backing = join(imageFolder(t), 'backing');
    writeFileSync(backing, Buffer.alloc(16 * 2 ** 20));
    const folder = ext4On(t, loopDevice(t, backing, { sectorBytes: 4096 }));
    writeFileSync(join(folder, 'probe'), '');
    using probe = openFile(join(folder, 'probe'), Open.RDONLY);
    assert.ok((directIoAlignment(probe.number)?.offsetBytes ?? 4096) === 4096);
    compareWithModel(t, { engine, cache: 'none', runs: 20, folder, blockBytes: 512 });
  });
}
