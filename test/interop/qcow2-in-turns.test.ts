/**
 * One qcow2 image, written by us and by QEMU in turns: each finds what the other has left, all of it
 * agrees with a model, and qemu-img finds nothing wrong in between.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { file, openAccess, openDisk, qcow2 } from '../../src/storage/index.ts';
import {
  AccessModel,
  type AccessStep,
  accessBatches,
  assertSame,
} from '../support/access-model.ts';
import { imageFolder } from '../support/image-folder.ts';
import { propertyOptions } from '../support/property-options.ts';
import { assertClean, qemuImg, qemuImgRequirements, qemuIo } from '../support/qemu-img.ts';

const skip = qemuImgRequirements() ?? false;
const DISK_BYTES = 2 ** 20 + 1536;
const RUNS = 4;

/** How an image is made, and its clusters. */
const CASES: readonly (readonly [string, number])[] = [
  ['cluster_size=4k', 4096],
  ['cluster_size=512,refcount_bits=1', 512],
  ['cluster_size=64k,lazy_refcounts=on', 65_536],
  ['compat=0.10,cluster_size=4k', 4096],
  ['cluster_size=16k,compression_type=zstd', 16_384],
];

/** What QEMU is asked for in place of a step. Its reads are at the end. */
function qemuCommand(step: AccessStep, content: Buffer): string {
  const { kind, sector, sectors, seed } = step;
  const [start, length] = [sector * 512, sectors * 512];
  switch (kind) {
    case 'write':
      content.fill(seed, start, start + length);
      return `write -P ${seed} ${start} ${length}`;
    case 'read':
    case 'flush':
      return 'flush';
    case 'zero':
    case 'unmap':
    case 'discard':
      content.fill(0, start, start + length);
      return `write -z ${kind === 'zero' ? '' : '-u'} ${start} ${length}`;
  }
}

suite('an image that is written in turns with QEMU', () => {
  for (const [options, clusterBytes] of CASES) {
    test(options, { skip }, async (t) => {
      const folder = imageFolder(t);
      const rounds = fc.array(
        accessBatches({ sizeBytes: DISK_BYTES, maxSectors: 300, batches: 6 }),
        { minLength: 4, maxLength: 6, size: 'max' },
      );
      let image = 0;
      await fc.assert(
        fc.asyncProperty(rounds, async (each) => {
          const path = join(folder, `${image++}.qcow2`);
          qemuImg('create', '-q', '-f', 'qcow2', '-o', options, path, String(DISK_BYTES));
          const content = Buffer.alloc(DISK_BYTES);
          for (const [round, batches] of each.entries()) {
            if (round % 2 === 0) await writeOurselves(path, content, batches, clusterBytes);
            else {
              const steps = batches.flat();
              qemuIo(path, ...steps.map((step) => qemuCommand(step, content)));
            }
            assertClean(path);
          }
          await writeOurselves(path, content, [], clusterBytes);
          const raw = join(folder, 'raw');
          qemuImg('convert', '-f', 'qcow2', '-O', 'raw', path, raw);
          assertSame(readFileSync(raw), content, 'what qemu-img reads');
        }),
        propertyOptions(RUNS),
      );
    });
  }
});

/** A session of ours: it finds what is there, and changes it. */
async function writeOurselves(
  path: string,
  content: Buffer,
  batches: readonly (readonly AccessStep[])[],
  clusterBytes: number,
): Promise<void> {
  const disk = await openDisk(qcow2(file(path)));
  assert.equal(disk.info.sizeBytes, DISK_BYTES);
  const access = openAccess(disk);
  try {
    const model = new AccessModel(access, content, (bytes, start, end) => {
      const first = Math.ceil(start / clusterBytes) * clusterBytes;
      const isLast = end === DISK_BYTES;
      const last = isLast ? end : Math.floor(end / clusterBytes) * clusterBytes;
      if (first < last) bytes.fill(0, first, last);
    });
    await model.check();
    for (const batch of batches) await model.run(batch);
    await model.check();
  } finally {
    access.close();
    await disk.close();
  }
}
