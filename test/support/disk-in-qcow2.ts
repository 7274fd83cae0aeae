/** Disks in qcow2 images in other disks, for filters over them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type DiskLike,
  type DiskPlan,
  file,
  openAccess,
  openDisk,
  qcow2,
} from '../../src/storage/index.ts';
import { createQcow2 } from '../../src/storage/tools.ts';
import { patternBytes } from './request-bytes.ts';

/** Size of the disk with `qcow2Content`. */
export const QCOW2_DISK_BYTES: number = 2 ** 20;
/** Of what is below: the image, and room for what it needs more. */
export const QCOW2_LOWER_BYTES: number = 4 * 2 ** 20;
/** Small ones, so that most requests are of several, and tables are written all the time. */
const CLUSTER_BYTES = 4096;
/** Half of its content is there; of the rest there are no clusters yet. */
const WRITTEN_BYTES = QCOW2_DISK_BYTES / 2;

let content: Uint8Array | undefined;

/** What a disk may hold at first. */
export function qcow2Content(offset: number, bytes: number): Uint8Array {
  if (content === undefined) {
    content = new Uint8Array(QCOW2_DISK_BYTES);
    content.set(patternBytes(WRITTEN_BYTES, 78));
  }
  return content.subarray(offset, offset + bytes);
}

/** The bytes of a new image. @param fill - puts into the disk what it is to hold. */
export async function qcow2Image(
  sizeBytes: number,
  fill: (disk: DiskPlan) => Promise<void>,
): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), 'qcow2-'));
  const path = join(folder, 'image');
  try {
    await createQcow2(path, { sizeBytes, clusterBytes: CLUSTER_BYTES });
    await fill(qcow2(file(path)));
    return readFileSync(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** An image with that content. */
export function shownImage(): Promise<Buffer> {
  return qcow2Image(QCOW2_DISK_BYTES, async (plan) => {
    const disk = await openDisk(plan);
    const access = openAccess(disk);
    await access.write(qcow2Content(0, WRITTEN_BYTES), 0);
    access.close();
    await disk.close();
  });
}

/** The disk in the image that a disk has; if there is none yet, it is this one. */
export async function inQcow2(lower: DiskLike, image: Uint8Array): Promise<DiskPlan> {
  const opened = await openDisk(lower);
  const access = openAccess(opened);
  const start = Buffer.alloc(opened.info.logicalBlockBytes);
  await access.read(start, 0);
  if (start.toString('latin1', 0, 3) !== 'QFI') {
    await access.write(image, 0);
    await access.flush();
  }
  access.close();
  if (opened !== lower) await opened.close();
  return qcow2(lower);
}
