/**
 * The power of the host goes while a guest writes: of many moments, each with what a disk may have
 * kept by then, the file system recovers, and every file is there that the guest knew to be safe.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { listenAt, VhostUserBlkServer } from '../../src/exports/index.ts';
import type { CacheMode } from '../../src/storage/index.ts';
import type { EngineName } from '../../src/sys/index.ts';
import { cannotLoop, cannotMount } from '../support/host-file-systems.ts';
import { PowerLossRecorder, type Random, seededRandom } from '../support/power-loss.ts';
import { missingEngine } from '../support/reactors.ts';
import { assertSameBytes } from '../support/request-bytes.ts';
import { openWatchedFile } from '../support/watched-file.ts';
import { directIoRequirement } from './direct-io.ts';
import { DiskImage, run } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
const DISK_BYTES = 48 * MIB;
/** Files that the guest makes, and then overwrites. */
const FILES = 12;
const ROUNDS = 2;
/** What the disk promises not to tear: ext4 counts on that for its superblock of 1024 bytes. */
const PHYSICAL_BLOCK_BYTES = 4096;
/** Moments at which the power goes. */
const CRASHES = 12;

const SCRIPT = `
# content ROUND NUMBER: not whole blocks.
content() { yes "round $1 of file $2" | head -c $(($2 * 3333)); }
# Always something under way that nobody waits for.
noise() {
  while test -e /tmp/noisy; do
    dd if=/dev/urandom of=/mnt/noise bs=32k count=16 status=none
    rm /mnt/noise
  done
}
write_files() {
  for round in $(seq ${ROUNDS}); do
    for number in $(seq ${FILES}); do
      content $round $number | dd of=/mnt/file-$number bs=4k conv=notrunc,fsync status=none || return 1
      host synced
    done
  done
}
fact cache $(cat /sys/block/vda/queue/write_cache)
check mount mount -t ext4 /dev/vda /mnt
touch /tmp/noisy
noise &
check write-files write_files
rm /tmp/noisy
wait
check umount umount /mnt
`;

/** As `content` of the script. */
function contentOf(round: number, number: number): Buffer {
  const line = `round ${round} of file ${number}\n`;
  return Buffer.from(line.repeat(Math.ceil((number * 3333) / line.length))).subarray(
    0,
    number * 3333,
  );
}

/** What the guest has been told is safe, and when. */
interface Synced {
  readonly round: number;
  readonly number: number;
  readonly moment: number;
}

/** The file system of an image recovers, and has what was safe. */
function checkImage(image: Buffer, synced: readonly Synced[], moment: number): number {
  const folder = mkdtempSync(join(tmpdir(), 'power-loss-'));
  const path = join(folder, 'image');
  const mountPoint = mkdtempSync(join(tmpdir(), 'power-loss-mount-'));
  let files = 0;
  try {
    writeFileSync(path, image);
    // Plays the journal back.
    run('mount', ['-o', 'loop', path, mountPoint]);
    try {
      for (let number = 1; number <= FILES; number++) {
        const safe = synced.filter((it) => it.number === number && it.moment <= moment).at(-1);
        if (safe === undefined) continue;
        checkFile(join(mountPoint, `file-${number}`), safe);
        files += 1;
      }
    } finally {
      run('umount', [mountPoint]);
    }
    run('e2fsck', ['-fn', path]);
  } finally {
    rmSync(folder, { recursive: true });
    rmdirSync(mountPoint);
  }
  return files;
}

/** The next round of the file may have begun: then each byte is of one or the other. */
function checkFile(path: string, { round, number }: Synced): void {
  const found = readFileSync(path);
  const expected = contentOf(round, number);
  if (round === ROUNDS) assertSameBytes(found, expected, path);
  const next = contentOf(round + 1, number);
  assert.equal(found.length, expected.length, path);
  const wrong = found.findIndex((byte, at) => byte !== expected[at] && byte !== next[at]);
  assert.equal(wrong, -1, `${path}: byte ${wrong} of round ${round}`);
}

interface Case {
  readonly engine: EngineName;
  readonly cache: CacheMode;
  /** What the guest knows of it. */
  readonly guestCache: string;
}

/** Boot a guest on a recorded disk; what was recorded, and what the guest was told. */
async function record(t: TestContext, { engine, cache, guestCache }: Case) {
  using image = new DiskImage(DISK_BYTES);
  run('mke2fs', ['-q', '-F', '-t', 'ext4', '-J', 'size=4', image.path]);
  const recorder = new PowerLossRecorder(readFileSync(image.path));
  const synced: Synced[] = [];
  const disk = openWatchedFile({ path: image.path, cache }, recorder);
  const socketPath = join(image.folder, 'socket');
  const socket = listenAt(socketPath);
  // In this thread: no other knows the recorder.
  const server = await VhostUserBlkServer.start({ disk, socket, engine, threads: 0 });
  try {
    const report = await bootGuest({
      disks: [{ socketPath, numQueues: 1 }],
      script: SCRIPT,
      hostSteps: {
        synced: async () => {
          const index = synced.length;
          const place = { round: Math.floor(index / FILES) + 1, number: (index % FILES) + 1 };
          synced.push({ ...place, moment: recorder.moment() });
        },
      },
      signal: t.signal,
    });
    assertChecks(report, ['mount', 'write-files', 'umount']);
    assert.equal(report.facts.get('cache')?.trim(), guestCache);
    assert.equal(disk.info.physicalBlockBytes, PHYSICAL_BLOCK_BYTES);
    assert.equal(synced.length, FILES * ROUNDS);
    return { recorder, synced };
  } finally {
    await server.close();
    disk.close();
  }
}

const CASES: readonly Case[] = [
  { engine: 'io_uring', cache: 'writeback', guestCache: 'write back' },
  { engine: 'epoll', cache: 'none', guestCache: 'write back' },
  { engine: 'io_uring', cache: 'writethrough', guestCache: 'write through' },
];

/** From the first thing that was safe until the end, and that as well. */
function moments(recorder: PowerLossRecorder, synced: readonly Synced[], random: Random): number[] {
  const first = synced[0].moment;
  const among = Array.from({ length: CRASHES - 2 }, () =>
    Math.floor(first + random() * (recorder.now - first)),
  );
  return [first, ...among, recorder.now].toSorted((one, other) => one - other);
}

for (const one of CASES) {
  const { engine, cache } = one;
  const skip =
    guestRequirements() ??
    missingEngine(engine) ??
    (cache === 'none' ? directIoRequirement() : undefined) ??
    (cannotMount() || cannotLoop());
  void test(`the power goes while a guest writes: ${engine}, cache=${cache}`, {
    skip,
  }, async (t) => {
    const { recorder, synced } = await record(t, one);
    const seed = Number(process.env.VHOSTKIT_SEED ?? Date.now() % 2 ** 31);
    const { changes, syncs } = recorder.counts;
    t.diagnostic(`seed ${seed}, ${changes} writes, ${syncs} syncs`);
    const random = seededRandom(seed);
    let files = 0;
    for (const moment of moments(recorder, synced, random)) {
      files += checkImage(recorder.imageAt(moment, random, PHYSICAL_BLOCK_BYTES), synced, moment);
    }
    t.diagnostic(`${CRASHES} images, ${files} files in them safe`);
  });
}
