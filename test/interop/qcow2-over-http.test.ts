/** qcow2 images that a web server has: to read only, and as what an image in a file is over. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type DiskLike, file, http, openAccess, openDisk, qcow2 } from '../../src/storage/index.ts';
import { createQcow2 } from '../../src/storage/tools.ts';
import { AccessModel, accessBatches, assertSame } from '../support/access-model.ts';
import { imageFolder } from '../support/image-folder.ts';
import { propertyOptions } from '../support/property-options.ts';
import { assertClean, qemuImg, qemuImgRequirements } from '../support/qemu-img.ts';
import { patternBytes } from '../support/request-bytes.ts';
import { noBusybox, startWebServer } from '../support/web-server.ts';

const skip = qemuImgRequirements() ?? noBusybox();
const DISK_BYTES = 2 ** 20;
const CLUSTER_BYTES = 4096;
const RUNS = 4;

/** Content with holes in it. */
const CONTENT = Buffer.from(patternBytes(DISK_BYTES, 6));
for (let at = 0; at < DISK_BYTES; at += 5 * 65_536) CONTENT.fill(0, at, at + 65_536);

interface Served {
  readonly folder: string;
  readonly url: string;
  /** The image's bytes. */
  readonly image: Buffer;
}

/** An image on a web server. @param flags - of `qemu-img convert`. */
async function serveImage(t: TestContext, flags: readonly string[]): Promise<Served> {
  const folder = imageFolder(t);
  const [raw, path] = [join(folder, 'raw'), join(folder, 'image.qcow2')];
  writeFileSync(raw, CONTENT);
  qemuImg('convert', '-f', 'raw', '-O', 'qcow2', ...flags, raw, path);
  const url = await startWebServer(t, 'busybox', folder);
  return { folder, url: `${url}/image.qcow2`, image: readFileSync(path) };
}

/** Random requests; those that change something only if they may. */
async function useIt(like: DiskLike, content: Buffer, isWritten: boolean): Promise<void> {
  const options = { sizeBytes: DISK_BYTES, maxSectors: 300, batches: 10 };
  await fc.assert(
    fc.asyncProperty(accessBatches(options), async (batches) => {
      const disk = await openDisk(like);
      const access = openAccess(disk);
      try {
        assert.equal(disk.info.sizeBytes, DISK_BYTES);
        assert.equal(disk.info.readOnly, !isWritten);
        const model = new AccessModel(access, content, discardWhole);
        await model.check();
        for (const batch of batches) {
          await model.run(isWritten ? batch : batch.filter(({ kind }) => kind === 'read'));
        }
        await model.check();
      } finally {
        access.close();
        await disk.close();
      }
    }),
    { ...propertyOptions(RUNS), endOnFailure: true },
  );
}

/** Whole clusters read as zeros then. */
function discardWhole(content: Buffer, start: number, end: number): void {
  const first = Math.ceil(start / CLUSTER_BYTES) * CLUSTER_BYTES;
  const last = Math.floor(end / CLUSTER_BYTES) * CLUSTER_BYTES;
  if (first < last) content.fill(0, first, last);
}

suite('qcow2 over http', () => {
  for (const flags of [[], ['-c'], ['-o', 'cluster_size=4k,compat=0.10']]) {
    test(`to read only, ${flags.join(' ') || 'as it is made'}`, { skip }, async (t) => {
      const { folder, url, image } = await serveImage(t, flags);
      const small = http(url, { cacheSize: 262_144, blockSize: 4096, readAhead: 0 });
      for (const lower of [http(url), small]) {
        await useIt(qcow2(lower), CONTENT, false);
      }
      const disk = await openDisk(qcow2(http(url)));
      const access = openAccess(disk);
      await assert.rejects(async () => access.write(new Uint8Array(512), 0), { code: 'EROFS' });
      access.close();
      await disk.close();
      assert.ok(readFileSync(join(folder, 'image.qcow2')).equals(image), 'the image is as it was');
    });
  }

  test('below an image in a file, which is all that is written', { skip }, async (t) => {
    const { folder, url, image } = await serveImage(t, ['-c']);
    const path = join(folder, 'over.qcow2');
    const backing = { path: 'image.qcow2', format: 'qcow2' } as const;
    await createQcow2(path, { sizeBytes: DISK_BYTES, clusterBytes: CLUSTER_BYTES, backing });
    const content = Buffer.from(CONTENT);
    await useIt(qcow2(file(path), {}, qcow2(http(url))), content, true);
    assertClean(path);
    // QEMU finds the same image by its name, in the folder.
    const raw = join(folder, 'all.raw');
    qemuImg('convert', '-f', 'qcow2', '-O', 'raw', path, raw);
    assertSame(readFileSync(raw), content, 'what qemu-img reads');
    assert.ok(readFileSync(join(folder, 'image.qcow2')).equals(image), 'the image is as it was');
  });
});
