/**
 * A guest that writes and verifies files until the host has done what it wanted to do meanwhile:
 * whatever that is, the guest must see no error.
 */
import { assertChecks, bootGuest, type GuestDisk, type GuestReport } from './guest.ts';

const SCRIPT = `
write() {
  fio --directory=/mnt --direct=1 --ioengine=libaio --iodepth=32 --size=4M --rw=randwrite \\
    --bsrange=512-64k --verify=crc32c --verify_fatal=1 --numjobs=2 --name=verified
}
write_meanwhile() {
  host start
  until write || return 1; host is-over; test $host_reply = yes; do :; done
}
no_errors() { ! dmesg | grep -iE 'i/o error|buffer error|ext4-fs error|remount'; }

check mkfs mkfs.ext4 -q /dev/vda
check mount mount -t ext4 /dev/vda /mnt
check fio write_meanwhile
check no-errors no_errors
check umount umount /mnt
check e2fsck e2fsck -fn /dev/vda
`;

const CHECKS = 'mkfs mount fio no-errors umount e2fsck'.split(' ');
const TIMEOUT_MS = 200_000;

/** Boot it, do something to its disk while it is busy, and assert that it has seen no error. */
export async function bootBusyGuest(
  disk: GuestDisk,
  meanwhile: () => Promise<void>,
  signal: AbortSignal,
): Promise<GuestReport> {
  let done: Promise<void> | undefined;
  let isOver = false;
  const report = await bootGuest({
    disks: [disk],
    script: SCRIPT,
    fio: true,
    hostSteps: {
      start: async () => {
        done = meanwhile().finally(() => {
          isOver = true;
        });
        // A failure is told when the guest has ended.
        done.catch(() => {});
      },
      'is-over': async () => (isOver ? 'yes' : 'no'),
    },
    timeoutMs: TIMEOUT_MS,
    signal,
  });
  await done;
  assertChecks(report, CHECKS);
  return report;
}
