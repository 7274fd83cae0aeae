/**
 * Random requests on qcow2 images that qemu-img has made, against a model: images of all versions and
 * sizes of clusters, compressed ones, chains, preallocated ones, with snapshots. In the end qemu-img
 * finds nothing wrong with the image, and reads the same from it.
 */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import {
  type Disk,
  file,
  openAccess,
  openDisk,
  qcow2,
  type TableMode,
} from '../../src/storage/index.ts';
import { openQcow2 } from '../../src/storage/qcow2/open-qcow2.ts';
import { AccessModel, accessBatches, assertSame } from '../support/access-model.ts';
import { imageFolder } from '../support/image-folder.ts';
import { propertyOptions } from '../support/property-options.ts';
import { assertClean, qemuImg, qemuImgRequirements, qemuIo } from '../support/qemu-img.ts';

const skip = qemuImgRequirements() ?? false;
const MIB = 2 ** 20;
const RUNS = 8;

/** How an image is made. */
interface Case {
  readonly name: string;
  readonly sizeBytes: number;
  readonly clusterBytes: number;
  readonly version: 2 | 3;
  /** Has something below that shows where clusters are not there. */
  readonly hasBacking?: boolean;
  readonly snapshot?: string;
  readonly tableCache?: number;
  /** In place of `tableCache`: less than can be asked for, so that requests do not find room. */
  readonly cacheBytes?: number;
  readonly tables?: TableMode;
  /** Make the image at a path. `raw` has content of the disk's size. */
  make(path: string, raw: string, folder: string): void;
}

/** An empty image. */
function empty(options: string, clusterBytes: number, version: 2 | 3 = 3): Case {
  const sizeBytes = Math.max(MIB, clusterBytes * 5) + 1536;
  return {
    name: `empty, ${options}`,
    sizeBytes,
    clusterBytes,
    version,
    make: (path) => {
      qemuImg('create', '-q', '-f', 'qcow2', '-o', options, path, String(sizeBytes));
    },
  };
}

/** An image of the content of a raw one. */
function converted(options: string, flags: readonly string[], version: 2 | 3 = 3): Case {
  return {
    name: `converted, ${options} ${flags.join(' ')}`,
    sizeBytes: 2 * MIB,
    clusterBytes: 65536,
    version,
    make: (path, raw) => {
      qemuImg('convert', '-f', 'raw', '-O', 'qcow2', ...flags, '-o', options, raw, path);
    },
  };
}

function overRaw(options: string, clusterBytes: number, version: 2 | 3): Case {
  return {
    name: `over a raw image, ${options}`,
    sizeBytes: MIB + 4096,
    clusterBytes,
    version,
    hasBacking: true,
    make: (path, raw) => {
      const all = ['-b', raw, '-F', 'raw', '-o', options, path, String(MIB + 4096)];
      qemuImg('create', '-q', '-f', 'qcow2', ...all);
    },
  };
}

/** With room for four slices of tables, which is fewer than requests are under way. */
function crowded(each: Case, clusterBytes = each.clusterBytes): Case {
  return { ...each, name: `${each.name}, four slices in memory`, clusterBytes, cacheBytes: 1 };
}

function writtenThrough(each: Case): Case {
  return { ...each, name: `${each.name}, tables written through`, tables: 'write-through' };
}

const CASES: readonly Case[] = [
  empty('compat=v3', 65536),
  empty('compat=0.10', 65536, 2),
  empty('cluster_size=512', 512),
  { ...empty('cluster_size=512,refcount_bits=1', 512), tableCache: 65536 },
  crowded(empty('cluster_size=512', 512)),
  writtenThrough(empty('cluster_size=4k', 4096)),
  writtenThrough(crowded(empty('cluster_size=512', 512))),
  writtenThrough(overRaw('cluster_size=4k', 4096, 3)),
  crowded(converted('compression_type=zlib,cluster_size=512', ['-c']), 512),
  crowded(overRaw('cluster_size=512', 512, 3)),
  empty('cluster_size=1024,refcount_bits=64', 1024),
  empty('cluster_size=4096,refcount_bits=2', 4096),
  empty('cluster_size=8k,refcount_bits=8', 8192),
  empty('cluster_size=2M', 2 * MIB),
  empty('preallocation=metadata', 65536),
  empty('preallocation=falloc,cluster_size=4k', 4096),
  empty('preallocation=full', 65536),
  empty('lazy_refcounts=on', 65536),
  converted('compat=v3', []),
  converted('compat=0.10', [], 2),
  converted('compression_type=zlib', ['-c']),
  converted('compression_type=zstd', ['-c']),
  converted('compat=0.10', ['-c'], 2),
  overRaw('compat=v3', 65536, 3),
  overRaw('compat=0.10', 65536, 2),
  overRaw('cluster_size=512', 512, 3),
  overRaw('cluster_size=256k', 262_144, 3),
  {
    name: 'a chain of three, the lowest compressed and smaller',
    sizeBytes: MIB + 4096,
    clusterBytes: 16_384,
    version: 3,
    hasBacking: true,
    make: (path, raw, folder) => {
      const [low, middle] = ['low', 'middle'].map((name) => join(folder, `${name}.qcow2`));
      qemuImg('convert', '-c', '-f', 'raw', '-O', 'qcow2', raw, low);
      qemuImg('resize', '-q', '--shrink', low, '700k');
      const over = (base: string): string[] => [
        'create',
        '-q',
        '-f',
        'qcow2',
        '-b',
        base,
        '-F',
        'qcow2',
      ];
      qemuImg(...over(low), '-o', 'cluster_size=4k', middle, '900k');
      qemuIo(middle, 'write -P 7 300k 100k', 'write -z 450k 40k');
      qemuImg(...over(middle), '-o', 'cluster_size=16k', path, String(MIB + 4096));
    },
  },
  {
    name: 'with internal snapshots',
    sizeBytes: MIB,
    clusterBytes: 4096,
    version: 3,
    snapshot: 'first',
    make: (path, raw) => {
      qemuImg('convert', '-f', 'raw', '-O', 'qcow2', '-o', 'cluster_size=4k', raw, path);
      qemuImg('resize', '-q', '--shrink', path, String(MIB));
      qemuImg('snapshot', '-c', 'first', path);
      qemuIo(path, 'write -P 3 0 300k', 'write -z 500k 100k');
      qemuImg('snapshot', '-c', 'second', path);
    },
  },
  {
    name: 'compressed, with a snapshot, version 2',
    sizeBytes: MIB,
    clusterBytes: 65_536,
    version: 2,
    snapshot: 'first',
    make: (path, raw) => {
      const options = ['-c', '-f', 'raw', '-O', 'qcow2', '-o', 'compat=0.10'];
      qemuImg('convert', ...options, raw, path);
      qemuImg('resize', '-q', '--shrink', path, String(MIB));
      qemuImg('snapshot', '-c', 'first', path);
    },
  },
];

/** Content that compresses, but not to nothing. */
function someContent(bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++)
    content[at] = (at >> 12) % 5 === 0 ? 0 : (at * 7 + (at >> 11)) & 0xff;
  return content;
}

function contentOf(path: string, folder: string, ...options: string[]): Buffer {
  const raw = join(folder, 'content.raw');
  qemuImg('convert', ...options, '-f', 'qcow2', '-O', 'raw', path, raw);
  return readFileSync(raw);
}

async function openCase(path: string, { tableCache, cacheBytes, tables }: Case): Promise<Disk> {
  const mode = tables === undefined ? {} : { tables };
  if (cacheBytes === undefined) {
    const memory = tableCache === undefined ? {} : { tableCache };
    return openDisk(qcow2(file(path), { ...memory, ...mode }));
  }
  return openQcow2(await openDisk(file(path)), {
    open: {},
    usesBacking: true,
    backingFormat: undefined,
    backing: undefined,
    cacheBytes,
    ...mode,
  });
}

suite('random requests on images of qemu-img agree with the model', () => {
  for (const each of CASES) {
    test(each.name, { skip }, async (t) => {
      const folder = imageFolder(t);
      const [made, path, raw] = ['made.qcow2', 'image.qcow2', 'raw'].map((name) =>
        join(folder, name),
      );
      writeFileSync(raw, someContent(2 * MIB));
      each.make(made, raw, folder);
      const start = contentOf(made, folder);
      // Where an overlay has nothing of its own, which in the beginning is everywhere.
      const backing = each.hasBacking === true ? Buffer.from(start) : Buffer.alloc(start.length);
      const options = { sizeBytes: each.sizeBytes, maxSectors: 600, batches: 12 };
      await fc.assert(
        fc.asyncProperty(accessBatches(options), async (batches) => {
          copyFileSync(made, path);
          const content = Buffer.from(start);
          const disk = await openCase(path, each);
          assert.equal(disk.info.sizeBytes, each.sizeBytes);
          const access = openAccess(disk);
          try {
            const model = new AccessModel(access, content, discardRule(each, backing));
            for (const batch of batches) await model.run(batch);
            await model.check();
          } finally {
            access.close();
            await disk.close();
          }
          assertClean(path);
          assertSame(contentOf(path, folder), content, 'what qemu-img reads');
          if (each.snapshot !== undefined) {
            const name = `snapshot.name=${each.snapshot}`;
            const first = contentOf(path, folder, '-l', name);
            assertSame(first, contentOf(made, folder, '-l', name), 'the snapshot');
          }
        }),
        propertyOptions(RUNS),
      );
    });
  }
});

/** Whole clusters: zeros, or with version 2, which has no zero clusters, what is below. */
function discardRule({ clusterBytes, version, sizeBytes }: Case, backing: Buffer) {
  return (content: Buffer, start: number, end: number): void => {
    const first = Math.ceil(start / clusterBytes) * clusterBytes;
    const last = end === sizeBytes ? end : Math.floor(end / clusterBytes) * clusterBytes;
    if (first >= last) return;
    if (version === 3) content.fill(0, first, last);
    else backing.copy(content, first, first, last);
  };
}
