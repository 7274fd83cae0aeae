/**
 * Proves the guest harness itself with a back-end that is known to work: that a guest does real
 * work on a vhost-user-blk disk, and that whatever goes wrong in a guest fails the test.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { findProgram } from '../../tools/guest/programs.ts';
import { startStorageDaemon, storageDaemonRequirements } from '../support/storage-daemon.ts';
import { assertChecks, bootGuest, GuestError, guestRequirements } from './guest.ts';

const DISK_BYTES = 256 * 1024 * 1024;

const skip = guestRequirements() ?? storageDaemonRequirements() ?? false;

/** Skips test by test: those of a suite skipped as a whole are not even counted. */
function guestTest(name: string, body: (t: TestContext) => Promise<void>): void {
  void test(name, { skip }, body);
}

/** What a file system and fio ask of a disk. */
const DISK_SCRIPT = `
capacity() { test "$(cat /sys/block/vda/size)" -eq ${DISK_BYTES / 512}; }
queues() { test "$(ls /sys/block/vda/mq | wc -l)" -eq 2; }
write_file() { dd if=/dev/urandom of=/mnt/data bs=1M count=16 conv=fsync; }

check capacity capacity
check queues queues
check fio fio --name=verify --filename=/dev/vda --size=16M --rw=randwrite --bs=4k --direct=1 \\
  --ioengine=libaio --iodepth=16 --verify=crc32c --verify_fatal=1
check mkfs mkfs.ext4 -q -L harness /dev/vda
check mount mount -t ext4 /dev/vda /mnt
check write write_file
check sync sync
fact sha256 $(sha256sum </mnt/data)
check fstrim fstrim -v /mnt
check umount umount /mnt
`;

const DISK_CHECKS = 'capacity queues fio mkfs mount write sync fstrim umount'.split(' ');

describe('a guest', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'vm-harness-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  guestTest('makes and uses a file system on a disk', async (t) => {
    const imagePath = join(folder, 'disk,1.img');
    const socketPath = join(folder, 'disk,1.sock');
    writeFileSync(imagePath, '');
    truncateSync(imagePath, DISK_BYTES);
    await using daemon = await startStorageDaemon({ imagePath, socketPath, numQueues: 2 });
    const report = await bootGuest({
      disks: [{ socketPath, numQueues: 2, queueSize: 256 }],
      fio: true,
      script: DISK_SCRIPT,
      signal: t.signal,
    });
    await daemon.stop();
    t.diagnostic(`${report.accelerator}: boot ${report.bootMs.toFixed()} ms`);
    t.diagnostic(`in all ${report.totalMs.toFixed()} ms`);
    assertChecks(report, DISK_CHECKS);

    run('e2fsck', ['-fn', imagePath]);
    const copy = join(folder, 'data');
    run('debugfs', ['-R', `dump /data ${copy}`, imagePath]);
    const sha256 = createHash('sha256').update(readFileSync(copy)).digest('hex');
    assert.equal(report.facts.get('sha256')?.split(' ')[0], sha256);
  });

  guestTest('has its disks in the order of the options', async (t) => {
    const sizes = [64 * 1024 * 1024, 32 * 1024 * 1024];
    const sockets = sizes.map((size) => join(folder, `null-${size}.sock`));
    await using _first = await startStorageDaemon({
      socketPath: String(sockets[0]),
      nullCoSizeBytes: Number(sizes[0]),
    });
    await using _second = await startStorageDaemon({
      socketPath: String(sockets[1]),
      nullCoSizeBytes: Number(sizes[1]),
      writable: false,
    });
    const report = await bootGuest({
      disks: sockets.map((socketPath) => ({ socketPath, numQueues: 1 })),
      script: 'fact sizes $(cat /sys/block/vda/size /sys/block/vdb/size /sys/block/vdb/ro)',
      signal: t.signal,
    });
    assertChecks(report, []);
    assert.equal(report.facts.get('sizes'), `${64 * 2048} ${32 * 2048} 1`);
  });

  guestTest('waits for steps of the host and gets their answers', async (t) => {
    const report = await bootGuest({
      script: 'host one; fact reply "$host_reply"; host two; check empty test -z "$host_reply"',
      hostSteps: { one: async () => 'an answer', two: async () => {} },
      signal: t.signal,
    });
    assertChecks(report, ['empty']);
    assert.equal(report.facts.get('reply'), 'an answer');
  });
});

describe('the harness fails', () => {
  guestTest('when a check in the guest fails', async (t) => {
    const script = 'check good true\ncheck bad ls /nowhere\ncheck later true';
    const report = await bootGuest({ script, signal: t.signal });
    assert.deepEqual(
      report.checks.map(({ name, ok }) => [name, ok]),
      [
        ['good', true],
        ['bad', false],
        ['later', true],
      ],
    );
    assert.throws(() => assertChecks(report, ['good', 'bad', 'later']), {
      code: 'ERR_ASSERTION',
      message: /^not ok bad status 1: ls: \/nowhere: No such file/,
    });
  });

  guestTest('when the script ends by itself or does not parse', async (t) => {
    const left = await bootGuest({ script: 'check one true\nexit 7', signal: t.signal });
    assert.throws(() => assertChecks(left, ['one']), /the script ended with 7/);
    const broken = await bootGuest({ script: 'if then', signal: t.signal });
    assert.throws(() => assertChecks(broken, []), /the script ended with 2(.|\n)*[Ss]yntax error/);
  });

  guestTest('when the guest panics', async (t) => {
    const script = 'check one true\necho c >/proc/sysrq-trigger\nsleep 600';
    await rejects(bootGuest({ script, signal: t.signal }), 'panic', /sysrq triggered crash/);
  });

  guestTest('when the time limit is hit', async (t) => {
    const script = 'echo going to sleep; sleep 600';
    const guest = bootGuest({ script, timeoutMs: 5000, signal: t.signal });
    await rejects(guest, 'timeout', /within 5000 ms/);
  });

  guestTest('when the guest restarts instead of powering off', async (t) => {
    const script = 'echo b >/proc/sysrq-trigger\nsleep 600';
    await rejects(bootGuest({ script, signal: t.signal }), 'no-power-off', /./);
  });

  guestTest('when the test is aborted', async () => {
    const controller = new AbortController();
    const guest = bootGuest({
      script: 'host ready; sleep 600',
      hostSteps: { ready: async () => controller.abort() },
      signal: controller.signal,
    });
    await rejects(guest, 'aborted', /./);
  });

  guestTest('when a step of the host fails or does not exist', async (t) => {
    const hostSteps = {
      fail: async (): Promise<void> => {
        throw new Error('no luck');
      },
    };
    const failing = bootGuest({ script: 'host fail; sleep 600', hostSteps, signal: t.signal });
    await rejects(failing, 'host-step', /fail failed: Error: no luck/);
    const missing = bootGuest({ script: 'host nothing; sleep 600', signal: t.signal });
    await rejects(missing, 'host-step', /step nothing, which the test lacks/);
  });

  guestTest('when QEMU cannot reach the back-end', async (t) => {
    const socketPath = join(tmpdir(), 'vm-harness-nobody.sock');
    const guest = bootGuest({ disks: [{ socketPath }], script: '', signal: t.signal });
    await rejects(guest, 'qemu', /vm-harness-nobody\.sock/);
  });
});

async function rejects(guest: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(guest, (error: unknown) => {
    assert.ok(error instanceof GuestError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

/** Run a program of the host that has to succeed; its output becomes part of the error. */
function run(program: string, args: readonly string[]): void {
  execFileSync(findProgram(program) ?? program, args, { stdio: 'pipe' });
}
