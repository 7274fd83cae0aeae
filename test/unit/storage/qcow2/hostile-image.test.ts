/**
 * Images that somebody has made to do harm: whatever is in the header and in the tables, opening fails
 * with a StorageError or requests fail with an I/O error; nothing crashes, and nothing goes on for ever.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import {
  type DiskAccess,
  file,
  openAccess,
  openDisk,
  qcow2,
  StorageError,
} from '../../../../src/storage/index.ts';
import { createQcow2 } from '../../../../src/storage/tools.ts';
import { imageFolder } from '../../../support/image-folder.ts';
import { propertyOptions } from '../../../support/property-options.ts';
import { RecordedDisk } from '../../../support/recorded-disk.ts';

const SIZE_BYTES = 256 * 1024;
const CLUSTER_BYTES = 1024;
const LIMIT_MS = 20_000;

/** An image some of whose clusters are there. */
async function someImage(folder: string): Promise<Buffer> {
  const path = join(folder, 'some.qcow2');
  await createQcow2(path, { sizeBytes: SIZE_BYTES, clusterBytes: CLUSTER_BYTES });
  const disk = await openDisk(qcow2(file(path)));
  const access = openAccess(disk);
  await access.write(Buffer.alloc(100 * 1024, 7), 0);
  await access.writeZeroes(20 * 1024, 8192);
  await access.write(Buffer.alloc(20 * 1024, 9), 200 * 1024);
  access.close();
  await disk.close();
  return readFileSync(path);
}

/** Places of the image that say where something is, and what to put there. */
interface Damage {
  readonly at: number;
  readonly value: bigint;
}

function damageArbitrary(imageBytes: number): fc.Arbitrary<Damage[]> {
  const entry = fc.nat(imageBytes / 8 - 1).map((index) => index * 8);
  const place = fc.oneof(
    fc.nat(15).map((index) => index * 8),
    entry,
  );
  const flags = fc.constantFrom(0n, 1n, 1n << 62n, 1n << 63n, 3n << 62n);
  const offset = fc.oneof(
    fc.nat(imageBytes).map(BigInt),
    fc.nat(imageBytes / CLUSTER_BYTES + 2).map((index) => BigInt(index * CLUSTER_BYTES)),
    fc.bigInt({ min: 0n, max: (1n << 56n) - 1n }),
  );
  const value = fc.oneof(
    fc.tuple(offset, flags).map(([number, bits]) => number | bits),
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  );
  return fc.array(fc.record({ at: place, value }), { minLength: 1, maxLength: 12 });
}

/** Fails unless the request succeeds or fails as disks do. */
async function attempt(request: () => void | Promise<void>): Promise<void> {
  try {
    await Promise.race([
      request(),
      delay(LIMIT_MS, undefined, { ref: false }).then(() => assert.fail('a request does not end')),
    ]);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    assert.ok(code === 'EIO' || code === 'ENOSPC' || code === 'EINVAL', String(error));
  }
}

async function useAll(access: DiskAccess): Promise<void> {
  const buffer = Buffer.alloc(64 * 1024);
  for (let at = 0; at < SIZE_BYTES; at += buffer.length) {
    await attempt(() => access.read(buffer, at));
  }
  for (let at = 512; at < SIZE_BYTES; at += 24 * 1024) {
    await Promise.all([
      attempt(() => access.write(Buffer.alloc(3 * 1024, 1), at)),
      attempt(() => access.discard(at + 8192, 2048)),
      attempt(() => access.writeZeroes(at + 12_288, 3 * 1024, { mayUnmap: at % 1024 === 0 })),
    ]);
  }
  await attempt(() => access.flush());
}

suite('hostile images', () => {
  test('wrong numbers in the header and the tables', async (t) => {
    const image = await someImage(imageFolder(t));
    let opened = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(damageArbitrary(image.length), async (damages) => {
        const bytes = Buffer.from(image);
        for (const { at, value } of damages) bytes.writeBigUInt64BE(value, at);
        const lower = new RecordedDisk(bytes, 64 * 2 ** 20);
        let disk: Awaited<ReturnType<typeof openDisk>>;
        try {
          disk = await openDisk(qcow2(lower.asDisk(), { tableCache: 65536 }));
        } catch (error) {
          assert.ok(error instanceof StorageError, String(error));
          assert.ok(!error.message.includes('\n'), error.message);
          refused += 1;
          return;
        }
        opened += 1;
        const access = openAccess(disk);
        if (disk.info.sizeBytes >= SIZE_BYTES) await useAll(access);
        access.close();
        await attempt(() => disk.close());
      }),
      propertyOptions(300),
    );
    assert.ok(opened > 20 && refused > 20, `${opened} opened, ${refused} refused`);
  });
});
