/**
 * A guest switches its disk's write cache off, and the server is replaced: QEMU does not say it
 * again, and writes are stable when they complete all the same.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingStableCounts, unstablePages } from '../support/page-cache.ts';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';

const MIB = 1024 * 1024;
const skip = guestRequirements() ?? missingStableCounts();

const SCRIPT = `
write() { dd if=/dev/urandom of=/dev/vda bs=64k count=16 oflag=direct; }
switch_cache() { echo "$1" >/sys/block/vda/cache_type && grep -q "$1" /sys/block/vda/cache_type; }

looks() { for round in 1 2 3; do write && host look || return 1; done; }

check on looks
check switch-off switch_cache "write through"
check flushed host flush
check off looks
host restart
check kept looks
check switch-on switch_cache "write back"
check on-again looks
`;

test('a cache that the guest has switched off stays off with the next server', {
  skip,
}, async (t) => {
  using image = new DiskImage(16 * MIB);
  await using server = await VmServer.start(`--blk-file=${image.path}`, '--log-level=debug');
  const unstable: boolean[] = [];
  const report = await bootGuest({
    disks: [{ socketPath: server.socketPath, reconnectSeconds: 1 }],
    script: SCRIPT,
    hostSteps: {
      look: async () => {
        unstable.push((unstablePages(image.path) ?? 0) > 0);
      },
      flush: async () => image.sync(),
      restart: async () => {
        await server.kill();
        await server.startAgain();
        await server.isSetUp();
        // What QEMU does is what the test is about.
        assert.doesNotMatch(server.stderr, /SET_CONFIG|GET_CONFIG/);
      },
    },
    signal: t.signal,
  });
  assertChecks(report, 'on switch-off flushed off kept switch-on on-again'.split(' '));
  const phases = [0, 3, 6, 9].map((first) => unstable.slice(first, first + 3).includes(true));
  assert.deepEqual(phases, [true, false, false, true], unstable.join(' '));
});
