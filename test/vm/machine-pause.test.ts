/**
 * QEMU pauses the machine and lets it run again, while the guest writes: each time every ring is
 * halted with requests under way, and goes on exactly where it was.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { missingEngine } from '../support/reactors.ts';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage } from './disk-image.ts';
import { assertChecks, bootGuest, guestRequirements } from './guest.ts';
import { MachineMonitor, monitorArguments } from './machine-monitor.ts';

const MIB = 1024 * 1024;
/** Enough of them for each disk. */
const RESUMPTIONS = 10;
/** What the guest gets done in between. */
const RUN_MS = 50;
const skip = guestRequirements() ?? missingEngine('io_uring') ?? false;

const SCRIPT = `
write() {
  fio --direct=1 --ioengine=libaio --iodepth=32 --size=4M --rw=randwrite --bsrange=512-64k \\
    --verify=crc32c --verify_fatal=1 --name=vda --filename=/dev/vda --name=vdb --filename=/dev/vdb
}
write_while_paused() {
  host pause-often
  until write || return 1; host is-enough; test $host_reply = yes; do :; done
}
check fio write_while_paused
`;

/** A ring's runs in a server's log: the available entries that each begins and ends with. */
function runsOfRing(stderr: string, ring: number): { from: number; until: number }[] {
  const pattern = new RegExp(
    `ring ${ring} runs: \\d+ entries from (\\d+)\n[^]*?ring ${ring} halted at (\\d+)\n`,
    'g',
  );
  return Array.from(stderr.matchAll(pattern), ([, from, until]) => ({
    from: Number(from),
    until: Number(until),
  }));
}

/** How often a ring went on where it was, and did something. */
function resumptions(server: VmServer): number {
  const runs = [0, 1].flatMap((ring) => runsOfRing(server.stderr, ring));
  return runs.filter(({ from, until }) => from > 0 && until !== from).length;
}

function assertContinuous(server: VmServer, ring: number): void {
  const runs = runsOfRing(server.stderr, ring);
  for (const [at, { from }] of runs.entries()) {
    // Firmware and kernel each start anew.
    assert.ok(from === 0 || from === runs[at - 1]?.until, `ring ${ring}: ${JSON.stringify(runs)}`);
  }
}

/** Pause the machine and let it go on, again and again until told to end. */
async function pauseOften(qmpPath: string, end: AbortSignal): Promise<void> {
  using monitor = await MachineMonitor.connect(qmpPath);
  while (!end.aborted) {
    await monitor.execute('stop');
    await monitor.execute('cont');
    await sleep(RUN_MS);
  }
}

test('the machine is paused and goes on in the middle of its writes', { skip }, async (t) => {
  using first = new DiskImage(4 * MIB);
  using second = new DiskImage(4 * MIB);
  await using a = await VmServer.start(
    ...[`--blk-file=${first.path}`, '--engine=io_uring', '--log-level=debug'],
  );
  await using b = await VmServer.start(
    ...[`--blk-file=${second.path}`, '--engine=epoll', '--log-level=debug'],
  );
  const servers = [a, b];
  const qmpPath = join(first.folder, 'qmp');
  const end = new AbortController();
  let pausing = Promise.resolve();
  const report = await bootGuest({
    disks: servers.map(({ socketPath }) => ({ socketPath, numQueues: 2 })),
    fio: true,
    script: SCRIPT,
    hostSteps: {
      'pause-often': async () => {
        pausing = pauseOften(qmpPath, end.signal);
        // Awaited below.
        pausing.catch(() => {});
      },
      'is-enough': async () => {
        const isEnough = servers.every((server) => resumptions(server) >= RESUMPTIONS);
        if (isEnough) end.abort();
        return isEnough ? 'yes' : 'no';
      },
    },
    qemuArguments: monitorArguments(qmpPath),
    signal: t.signal,
  }).finally(() => end.abort());
  assertChecks(report, ['fio']);
  await pausing;
  const counts = servers.map(resumptions).join(' and ');
  t.diagnostic(`${counts} resumptions, in all ${report.totalMs.toFixed()} ms`);
  for (const server of servers) {
    await server.stop();
    for (const ring of [0, 1]) assertContinuous(server, ring);
  }
});
