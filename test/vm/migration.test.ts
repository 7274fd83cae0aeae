/**
 * A guest moves from one QEMU to another, each with servers of its own for the same images, while
 * it reads and writes: live migration with the back-end's dirty log.
 *
 * What the log is for is memory that the device writes, that is, what the guest reads. So the guest
 * reads one file after the other during the migration, and in the end compares what is in its page
 * cache with what must be there, without reading it again: a page that was filled after QEMU had
 * copied it, and was not logged, is old or empty in the other machine.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { missingEngine } from '../support/reactors.ts';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage, sha256 } from './disk-image.ts';
import { assertChecks, bootGuest, GuestError, guestRequirements } from './guest.ts';
import { type MigrationSummary, migrate } from './machine-migration.ts';
import { MachineMonitor, monitorArguments } from './machine-monitor.ts';

const MIB = 1024 * 1024;
const DISK_BYTES = 256 * MIB;
/** On a busy machine, without KVM: the destination waits for the source's boot, too. */
const TIMEOUT_MS = 300_000;
/** Read one by one: more than a migration lasts. */
const FILES = 150;
const FILE_BYTES = 512 * 1024;
/** How many of each disk the guest has read when it sets out: at least so many when it arrives. */
const FILES_READ = 10;
const skip = guestRequirements() ?? missingEngine('io_uring') ?? false;

const SCRIPT = `
mkdir -p /mnt/vda /mnt/vdb
for disk in vda vdb; do mount -t ext4 /dev/$disk /mnt/$disk || exit 1; done

# Fills the page cache from the disk, file by file, once.
read_on() {
  count=0
  while test $count -lt ${FILES}; do
    cat /mnt/$1/given/$count >/dev/null
    count=$((count + 1))
    # At once: who looks finds a number.
    echo $count >/tmp/read.$1.new && mv /tmp/read.$1.new /tmp/read.$1
    sleep 0.05
  done
}
write_on() {
  rounds=0
  until test -e /tmp/end; do
    rounds=$((rounds + 1))
    seq $rounds 20000 >/mnt/$1/log.$((rounds % 4)) && sync
  done
  echo $rounds >/tmp/rounds.$1
}
verify_on() {
  until test -e /tmp/end; do
    fio --name=verify --directory=/mnt/$1 --size=4M --rw=randwrite --bsrange=512-64k --direct=1 \\
      --ioengine=libaio --iodepth=16 --verify=crc32c --verify_fatal=1 || return 1
  done
}
for disk in vda vdb; do write_on $disk & done
verify_on vda >/tmp/verify.out 2>&1 & verifier=$!
sleep 1
for disk in vda vdb; do read_on $disk & done
for disk in vda vdb; do
  until test "$(cat /tmp/read.$disk 2>/dev/null || echo 0)" -ge ${FILES_READ}; do sleep 0.1; done
done

host migrate
test "$host_reply" = arrived || exit 1
fact read $(cat /tmp/read.vda /tmp/read.vdb)
touch /tmp/end
check verified wait $verifier
wait
# What the readers have left in the page cache: nothing is read from the disks here.
cached() { cd /mnt/$1/given && sha256sum -c ../given.sha256 | grep -v OK; test $? -eq 1; }
check cached-vda cached vda
check cached-vdb cached vdb
echo 3 >/proc/sys/vm/drop_caches
check stored-vda cached vda
check stored-vdb cached vdb
fact rounds $(cat /tmp/rounds.vda /tmp/rounds.vdb)
unmount() { cd / && umount /mnt/vda && umount /mnt/vdb; }
check unmounted unmount
whole() { e2fsck -fn /dev/vda && e2fsck -fn /dev/vdb; }
check whole whole
`;
const CHECKS = [
  ...['verified', 'cached-vda', 'cached-vdb', 'stored-vda', 'stored-vdb', 'unmounted', 'whole'],
];

/** An image with a file system, files in it that no two pages of are the same, and their checksums. */
function makeImage(): DiskImage {
  const image = new DiskImage(DISK_BYTES);
  const contents = join(image.folder, 'contents');
  mkdirSync(join(contents, 'given'), { recursive: true });
  const words = new Uint32Array(FILE_BYTES / 4);
  const sums: string[] = [];
  for (let file = 0; file < FILES; file++) {
    const first = file * words.length;
    for (const index of words.keys()) words[index] = (first + index) * 2_654_435_761;
    const given = new Uint8Array(words.buffer);
    writeFileSync(join(contents, 'given', String(file)), given);
    sums.push(`${sha256(given)}  ${file}\n`);
  }
  writeFileSync(join(contents, 'given.sha256'), sums.join(''));
  image.makeExt4(contents);
  return image;
}

/** One machine's servers: of each image, by either engine. */
class Servers implements AsyncDisposable {
  readonly all: readonly VmServer[];

  static async start(images: readonly DiskImage[]): Promise<Servers> {
    const engines = ['io_uring', 'epoll'];
    const servers: VmServer[] = [];
    for (const [index, { path }] of images.entries()) {
      const own = [`--blk-file=${path}`, `--engine=${engines[index]}`, '--threads=2'];
      servers.push(await VmServer.start(...own, '--locking=while-running', '--log-level=debug'));
    }
    return new Servers(servers);
  }

  private constructor(all: readonly VmServer[]) {
    this.all = all;
  }

  async stop(): Promise<void> {
    for (const server of this.all) await server.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.all) await server[Symbol.asyncDispose]();
  }
}

/** Where each ring of a server was halted last. */
function haltedAt(server: VmServer): Map<string, string> {
  return new Map(lastMatches(server, /ring (\d+) halted at (\d+)/g));
}

/** Where each ring of a server began. */
function begunAt(server: VmServer): Map<string, string> {
  return new Map(lastMatches(server, /ring (\d+) runs: \d+ entries from (\d+)/g).reverse());
}

function lastMatches(server: VmServer, pattern: RegExp): [string, string][] {
  return Array.from(server.stderr.matchAll(pattern), ([, ring, at]) => [String(ring), String(at)]);
}

/** The machine that the guest leaves. Its run ends without a verdict of the guest. */
async function runSource(
  t: TestContext,
  servers: Servers,
  folder: string,
  onArrived: () => void,
): Promise<MigrationSummary> {
  const qmpPath = join(folder, 'source.qmp');
  let summary: MigrationSummary | undefined;
  const left = bootGuest({
    ...machine(servers, t),
    hostSteps: {
      migrate: async () => {
        using monitor = await MachineMonitor.connect(qmpPath);
        summary = await migrate(monitor, join(folder, 'incoming'));
        onArrived();
        await monitor.execute('quit');
        // The guest is not here any more.
        await new Promise(() => {});
      },
    },
    qemuArguments: monitorArguments(qmpPath),
  });
  await assert.rejects(left, (error) => {
    assert.ok(error instanceof GuestError, String(error));
    assert.equal(error.code, 'no-power-off', error.message);
    return true;
  });
  assert.ok(summary !== undefined, 'the guest has not asked to be migrated');
  return summary;
}

function machine(servers: Servers, t: TestContext) {
  return {
    disks: servers.all.map(({ socketPath }, index) => {
      const packed = index === 0 ? 'off' : 'on';
      return { socketPath, numQueues: 2, properties: { packed } };
    }),
    fio: true,
    script: SCRIPT,
    timeoutMs: TIMEOUT_MS,
    // A kernel that clears a page before the device fills it has it copied for that alone.
    kernelArguments: ['init_on_alloc=0'],
    signal: t.signal,
  };
}

test('a guest is migrated in the middle of its reads and writes', { skip }, async (t) => {
  using first = makeImage();
  using second = makeImage();
  const images = [first, second];
  await using sources = await Servers.start(images);
  await using targets = await Servers.start(images);
  let tellGuest: (reply: string) => void = () => {};
  const reply = new Promise<string>((resolve) => {
    tellGuest = resolve;
  });
  const arrived = bootGuest({
    ...machine(targets, t),
    incomingReply: reply,
    qemuArguments: ['-incoming', `unix:${join(first.folder, 'incoming')}`],
  });
  // Awaited below: it must not be unhandled meanwhile.
  arrived.catch(() => {});
  const { rounds } = await runSource(t, sources, first.folder, () => tellGuest('arrived'));
  const report = await arrived;
  assertChecks(report, CHECKS);
  t.diagnostic(`${rounds} rounds, ${report.facts.get('rounds')} rewrites of a file`);
  const read = (report.facts.get('read') ?? '').split(' ').map(Number);
  t.diagnostic(`${read.join(' and ')} files were read when the guest had arrived`);
  assert.ok(read.length === 2 && read.every((count) => count >= FILES_READ));
  t.diagnostic(`in all ${report.totalMs.toFixed()} ms`);
  await sources.stop();
  await targets.stop();
  for (const [index, source] of sources.all.entries()) {
    assert.match(source.stderr, /<- SET_LOG_BASE/);
    const halted = haltedAt(source);
    const begun = begunAt(targets.all[index] as VmServer);
    for (const [ring, at] of begun) assert.equal(at, halted.get(ring), `ring ${ring}`);
    assert.ok(begun.size > 0);
  }
  for (const image of images) image.assertCleanExt4();
});
