/**
 * A qcow2 image in a disk that becomes full: what a flush has confirmed stays, of the rest any; qemu-img
 * finds no corruption (clusters may be lost), and with room again all goes on.
 */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import {
  type DiskAccess,
  type DiskLike,
  error,
  file,
  openAccess,
  openDisk,
  qcow2,
} from '../../src/storage/index.ts';
import { cannotMount, smallTmpfs } from '../support/host-file-systems.ts';
import { imageFolder } from '../support/image-folder.ts';
import { PromisedSectors, type SectorChange, sectorsOf } from '../support/promised-sectors.ts';
import { propertyOptions } from '../support/property-options.ts';
import { checkImage, qemuImg, qemuImgRequirements } from '../support/qemu-img.ts';

const skip = qemuImgRequirements() ?? false;
const SECTOR_BYTES = 512;
const SECTORS = 2048;
const DISK_BYTES = SECTORS * SECTOR_BYTES;
const REQUESTS = 300;
const RUNS = 5;

const OPTIONS = [
  'cluster_size=4k',
  'cluster_size=512',
  'cluster_size=64k',
  'compat=0.10,cluster_size=4k',
  'preallocation=metadata',
] as const;

const REQUEST = fc.record({
  kind: fc.constantFrom('write', 'write', 'write', 'zero', 'flush'),
  sector: fc.integer({ min: 0, max: SECTORS - 64 }),
  sectors: fc.integer({ min: 1, max: 64 }),
});
type Request = typeof REQUEST extends fc.Arbitrary<infer Value> ? Value : never;

/** Sends requests one after the other, and writes down what is promised. */
class Session {
  readonly promised = new PromisedSectors();
  failures = 0;
  #clock = 0;

  async run(access: DiskAccess, requests: readonly Request[]): Promise<void> {
    for (const request of requests) await this.#send(access, request);
  }

  async #send(access: DiskAccess, { kind, sector, sectors }: Request): Promise<void> {
    const { changes, flushes } = this.promised;
    this.#clock += 1;
    const noted = { sentAt: this.#clock, answeredAt: Number.POSITIVE_INFINITY };
    const offset = sector * SECTOR_BYTES;
    const value = changes.length + 2;
    if (kind === 'flush') flushes.push(noted);
    else changes.push(Object.assign(noted, change(kind, value, sector, sectors)));
    try {
      if (kind === 'flush') await access.flush();
      else if (kind === 'zero') await access.writeZeroes(offset, sectors * SECTOR_BYTES);
      else await access.write(sectorsOf(value, sectors), offset);
      noted.answeredAt = this.#clock;
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'ENOSPC', String(error));
      this.failures += 1;
    }
  }
}

function change(
  kind: string,
  value: number,
  sector: number,
  sectors: number,
): Omit<SectorChange, 'sentAt' | 'answeredAt'> {
  return {
    kind: kind === 'zero' ? 'zero' : 'write',
    value,
    sector,
    sectors,
    isWriteThrough: false,
  };
}

/** Use a disk; what was not flushed may find no room in the end, which is said. */
async function use(like: DiskLike, session: Session, requests: readonly Request[]): Promise<void> {
  const disk = await openDisk(like);
  const access = openAccess(disk);
  await session.run(access, requests);
  access.close();
  try {
    await disk.close();
  } catch (error) {
    assert.ok(session.failures > 0, String(error));
    assert.equal((error as { code?: string }).code, 'ENOSPC', String(error));
  }
}

/** Nothing but lost clusters, and what was promised. Returns the content. */
function assertSound(path: string, { promised }: Session, folder: string, before: Buffer): Buffer {
  const { corruptions, errors, output } = checkImage(path);
  assert.deepEqual([corruptions, errors], [0, 0], output);
  const raw = join(folder, 'raw');
  qemuImg('convert', '-f', 'qcow2', '-O', 'raw', path, raw);
  const content = readFileSync(raw);
  promised.check(content, Number.MAX_SAFE_INTEGER, before);
  return content;
}

function sampleRequests(run: number): Request[] {
  const seed = (propertyOptions(1).seed ?? 0) + run;
  return fc.sample(REQUEST, { numRuns: REQUESTS, seed });
}

suite('a qcow2 image in a disk that is full', () => {
  for (const options of OPTIONS) {
    test(`writes from some offset on find no room, ${options}`, { skip }, async (t) => {
      const folder = imageFolder(t);
      for (let run = 0; run < RUNS; run++) {
        const path = join(folder, `${run}.qcow2`);
        qemuImg('create', '-q', '-f', 'qcow2', '-o', options, path, String(DISK_BYTES));
        const from = (2 + run) * 65_536;
        const full = error(file(path), {
          ...{ on: ['write', 'write-zeroes'], errno: 'ENOSPC' },
          ...{ from, to: 2 ** 40 },
        });
        const session = new Session();
        await use(qcow2(full), session, sampleRequests(run));
        assert.ok(session.failures > 0);
        const content = assertSound(path, session, folder, Buffer.alloc(DISK_BYTES));
        const next = new Session();
        await use(qcow2(file(path)), next, sampleRequests(run + RUNS));
        assert.equal(next.failures, 0, 'with room again');
        assertSound(path, next, folder, content);
      }
    });
  }

  for (const options of OPTIONS.slice(0, 3)) {
    test(`its file system is, ${options}`, { skip: skip || cannotMount() }, async (t) => {
      const folder = imageFolder(t);
      const small = smallTmpfs(t, 2 ** 20);
      const [path, ballast] = [join(small, 'image.qcow2'), join(small, 'ballast')];
      for (let run = 0; run < RUNS; run++) {
        qemuImg('create', '-q', '-f', 'qcow2', '-o', options, path, String(DISK_BYTES));
        writeFileSync(ballast, Buffer.alloc(512 * 1024));
        const session = new Session();
        await use(qcow2(file(path)), session, sampleRequests(run));
        assert.ok(session.failures > 0);
        assertSound(path, session, folder, Buffer.alloc(DISK_BYTES));
        for (const used of [ballast, path]) rmSync(used);
      }
    });
  }
});
