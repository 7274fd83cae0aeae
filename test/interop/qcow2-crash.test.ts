/**
 * Power failures while a qcow2 image is written: at any moment, with any of what was not flushed lost,
 * qemu-img finds no corruption (clusters may be lost), and what a flush has confirmed is there. And
 * the ends of processes: nothing that was written is lost with one, so with tables=write-through
 * all that has been answered is there.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type Disk, type DiskAccess, openAccess } from '../../src/storage/index.ts';
import { openQcow2 } from '../../src/storage/qcow2/open-qcow2.ts';
import type { ImageOptions } from '../../src/storage/qcow2/qcow2-image.ts';
import { imageFolder } from '../support/image-folder.ts';
import { checkImage, qemuImg, qemuImgRequirements, qemuIo } from '../support/qemu-img.ts';
import {
  type Draw,
  drawsFrom,
  RecordedDisk,
  type RecordedWrite,
  type Survival,
} from '../support/recorded-disk.ts';

const skip = qemuImgRequirements() ?? false;
const SIZE_BYTES = 512 * 1024;
/** Enough for clusters that one cluster of the refcount table does not describe. */
const LARGE_BYTES = 3 * 2 ** 20;
const SECTOR_BYTES = 512;
const STEPS = 40;
const SEED = Number(process.env.VHOSTKIT_SEED ?? 1);
const ROUNDS = Number(process.env.VHOSTKIT_RUNS ?? 1);
const SURVIVALS: readonly Survival[] = ['none', 'all', 'some', 'torn'];

const CASES: Readonly<Record<string, (path: string, folder: string) => void>> = {
  'an empty image': (path) => create(path, 'cluster_size=4k'),
  'an empty image of small clusters, whose refcount table grows': (path) =>
    create(path, 'cluster_size=512,refcount_bits=64', LARGE_BYTES),
  'version 2': (path) => create(path, 'compat=0.10,cluster_size=4k'),
  'a compressed image': (path, folder) => {
    const raw = join(folder, 'raw');
    writeFileSync(raw, contentAt(0, SIZE_BYTES));
    qemuImg('convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', 'cluster_size=4k', raw, path);
  },
  'an image with a snapshot': (path) => {
    create(path, 'cluster_size=4k');
    qemuIo(path, 'write -P 5 0 200k');
    qemuImg('snapshot', '-c', 'first', path);
  },
};

function create(path: string, options: string, sizeBytes = SIZE_BYTES): void {
  qemuImg('create', '-q', '-f', 'qcow2', '-o', options, path, String(sizeBytes));
}

function contentAt(seed: number, bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at++) content[at] = (seed * 13 + (at >> 9)) & 0xff;
  return content;
}

/** What every sector may hold after a crash: what the last flush has confirmed, or anything newer. */
class Promises {
  #possible: Buffer[][];

  constructor(content: Buffer) {
    const sectors = content.length / SECTOR_BYTES;
    this.#possible = Array.from({ length: sectors }, (_, sector) => [
      content.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES),
    ]);
  }

  change(offset: number, data: Buffer): void {
    for (let at = 0; at < data.length; at += SECTOR_BYTES) {
      this.#possible[(offset + at) / SECTOR_BYTES].push(data.subarray(at, at + SECTOR_BYTES));
    }
  }

  /** Of each sector the number of contents so far, for `confirm`. */
  get changes(): readonly number[] {
    return this.#possible.map((contents) => contents.length);
  }

  /** What was the last content of each sector when there were so many is safe. */
  confirm(changes: readonly number[]): void {
    this.#possible = this.#possible.map((contents, sector) => contents.slice(changes[sector] - 1));
  }

  /** The last content of sectors is safe. */
  confirmRange(offset: number, length: number): void {
    for (let at = offset; at < offset + length; at += SECTOR_BYTES) {
      const contents = this.#possible[at / SECTOR_BYTES];
      contents.splice(0, contents.length - 1);
    }
  }

  copy(): readonly (readonly Buffer[])[] {
    return this.#possible.map((contents) => [...contents]);
  }
}

/** A moment at which nothing was under way, and what had been promised until then. */
interface Moment {
  readonly at: number;
  readonly before: readonly (readonly Buffer[])[];
  /** With what was asked for next, which is under way until the next moment. */
  readonly next: readonly (readonly Buffer[])[];
}

/** One of the requests of a step, in a part of the disk that is its own. */
interface Request {
  readonly kind: 'write' | 'stable' | 'unmap' | 'zero' | 'flush';
  readonly offset: number;
  readonly data: Buffer;
}

/** How many requests are under way at once, and in how much memory the tables are. */
interface Load {
  readonly name: string;
  readonly depth: number;
  readonly image?: ImageOptions;
  /** It is the process that ends, not the power; default: false. */
  readonly isProcess?: boolean;
}

const LOADS: readonly Load[] = [
  { name: 'one request at a time', depth: 1 },
  { name: 'more requests than there is room for tables', depth: 16, image: { cacheBytes: 1 } },
];

function drawRequest(draw: Draw, seed: number, part: number, partSectors: number): Request {
  const within = Math.floor(draw() * partSectors);
  const wanted = 1 + Math.floor(draw() * (draw() < 0.3 ? partSectors / 12 : 12));
  const length = Math.min(partSectors - within, wanted) * SECTOR_BYTES;
  const offset = (part * partSectors + within) * SECTOR_BYTES;
  const draft = draw();
  if (draft < 0.65) {
    return { kind: draft < 0.55 ? 'write' : 'stable', offset, data: contentAt(seed, length) };
  }
  const kind = draft < 0.75 ? 'unmap' : draft < 0.85 ? 'zero' : 'flush';
  return { kind, offset, data: Buffer.alloc(length) };
}

async function submit(access: DiskAccess, { kind, offset, data }: Request): Promise<void> {
  if (kind === 'flush') await access.flush();
  else if (kind === 'write') await access.write(data, offset);
  else if (kind === 'stable') await access.write(data, offset, { stable: true });
  else await access.writeZeroes(offset, data.length, { mayUnmap: kind === 'unmap' });
}

function openImage(medium: RecordedDisk, { image }: Load): Promise<Disk> {
  const settings = { usesBacking: true, backingFormat: undefined, backing: undefined };
  return openQcow2(medium.asDisk(), { open: {}, ...settings, ...image });
}

/** Random requests; what they promise at each moment of the disk. */
async function work(
  medium: RecordedDisk,
  content: Buffer,
  draw: Draw,
  load: Load,
): Promise<Moment[]> {
  const disk = await openImage(medium, load);
  const access = openAccess(disk);
  const promises = new Promises(content);
  const moments: Moment[] = [];
  const partSectors = Math.floor(content.length / SECTOR_BYTES / load.depth);
  for (let step = 0; step < STEPS; step++) {
    const [at, before, changes] = [medium.now, promises.copy(), promises.changes];
    const requests = Array.from({ length: load.depth }, (_, part) =>
      drawRequest(draw, step * load.depth + part + 1, part, partSectors),
    );
    for (const { kind, offset, data } of requests) {
      if (kind !== 'flush') promises.change(offset, data);
    }
    moments.push({ at, before, next: promises.copy() });
    await Promise.all(requests.map((request) => submit(access, request)));
    if (load.isProcess) promises.confirm(promises.changes);
    else if (requests.some(({ kind }) => kind === 'flush')) promises.confirm(changes);
    for (const { kind, offset, data } of requests) {
      if (kind === 'stable') promises.confirmRange(offset, data.length);
    }
  }
  const last = promises.copy();
  moments.push({ at: medium.now, before: last, next: last });
  access.close();
  await disk.close();
  moments.push({ at: medium.now, before: last, next: last });
  return moments;
}

function assertKept(found: Buffer, promised: readonly (readonly Buffer[])[], about: string): void {
  promised.forEach((contents, sector) => {
    const there = found.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
    const isKept = contents.some((each) => there.equals(each));
    const values = contents.map((each) => each[0]).join(', ');
    assert.ok(isKept, `${about}: sector ${sector} begins with ${there[0]}, not one of ${values}`);
  });
}

/** All moments that the disk went through, each with what was promised then. */
function crashes(moments: readonly Moment[]): { moment: number; promised: Moment['next'] }[] {
  return moments.flatMap(({ at, next }, index) => {
    const end = index + 1 < moments.length ? moments[index + 1].at : at + 1;
    return Array.from({ length: end - at }, (_, each) => ({ moment: at + each, promised: next }));
  });
}

/** A disk whose writes take some turns of the event loop each. */
class SlowMedium extends RecordedDisk {
  override async write(buffer: Uint8Array, offset: number, request: RecordedWrite): Promise<void> {
    const data = Buffer.from(buffer);
    for (let turns = 1 + ((offset >> 9) % 3); turns > 0; turns--) await turn();
    await super.write(data, offset, request);
  }

  override async read(buffer: Uint8Array, offset: number): Promise<void> {
    await turn();
    await super.read(buffer, offset);
  }
}

/** Fails unless the image is right, and keeps its promises, after crashes at moments of one run. */
async function crash(image: Buffer, path: string, load: Load, seed: number): Promise<void> {
  const raw = `${path}.content`;
  const read = (): Buffer => {
    qemuImg('convert', '-f', 'qcow2', '-O', 'raw', path, raw);
    return readFileSync(raw);
  };
  writeFileSync(path, image);
  const draw = drawsFrom(seed);
  const medium = load.depth === 1 ? new RecordedDisk(image) : new SlowMedium(image);
  const all = crashes(await work(medium, read(), draw, load));
  // Every moment that matters is one of those; some of them are enough for one run.
  const share = Math.min(1, (load.image?.tables === undefined ? 120 : 60) / all.length);
  for (const { moment, promised } of all) {
    if (draw() > share) continue;
    const survival = load.isProcess ? 'all' : SURVIVALS[Math.floor(draw() * SURVIVALS.length)];
    writeFileSync(path, medium.after(moment, survival, draw));
    const about = `seed ${seed}, moment ${moment}, ${survival}`;
    const { corruptions, errors, output } = checkImage(path);
    assert.deepEqual({ corruptions, errors }, { corruptions: 0, errors: 0 }, `${about}: ${output}`);
    assertKept(read(), promised, about);
  }
}

for (const [what, options, isProcess] of [
  ['a power failure', {}, false],
  ['a power failure, tables=write-through', { tables: 'write-through' }, false],
  ['the end of its process, tables=write-through', { tables: 'write-through' }, true],
] as const) {
  suite(`a qcow2 image after ${what}`, () => {
    for (const [name, make] of Object.entries(CASES)) {
      for (const each of LOADS) {
        const load = { ...each, image: { ...each.image, ...options }, isProcess };
        test(`${name}, ${load.name}`, { skip }, async (t) => {
          const folder = imageFolder(t, '/dev/shm');
          const path = join(folder, 'image.qcow2');
          make(path, folder);
          const image = readFileSync(path);
          for (let round = 0; round < ROUNDS; round++) await crash(image, path, load, SEED + round);
        });
      }
    }
  });
}
