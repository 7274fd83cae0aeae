/**
 * Whatever QEMU's user sets on the device, the disk works with it: rings of several sizes, with and
 * without the features of rings, and as the legacy device. A guest with one disk for each.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { BlockFeature } from '../../src/virtio-blk/constants.ts';
import { RingFeature } from '../../src/virtqueue/index.ts';
import { VmServer } from '../support/vm-server.ts';
import { DiskImage } from './disk-image.ts';
import { assertChecks, bootGuest, type GuestDisk, guestRequirements } from './guest.ts';
import { DISK_FACTS, diskFacts, hasAgreedOn } from './sysfs-facts.ts';

const MIB = 1024 * 1024;
const skip = guestRequirements() ?? false;

/** Driver and device always agree on these unless something is set. */
const USUAL_FEATURES = [
  RingFeature.VERSION_1,
  RingFeature.INDIRECT_DESC,
  RingFeature.EVENT_IDX,
  BlockFeature.SIZE_MAX,
  BlockFeature.SEG_MAX,
  BlockFeature.BLK_SIZE,
  BlockFeature.FLUSH,
  BlockFeature.TOPOLOGY,
  BlockFeature.CONFIG_WCE,
  BlockFeature.DISCARD,
  BlockFeature.WRITE_ZEROES,
];

interface Case {
  readonly disk: Omit<GuestDisk, 'socketPath'>;
  /** Features the guest can't have then. */
  readonly without?: readonly number[];
}

const CASES: readonly Case[] = [
  { disk: { numQueues: 2, properties: { event_idx: 'off' } }, without: [RingFeature.EVENT_IDX] },
  {
    disk: { numQueues: 2, properties: { indirect_desc: 'off' } },
    without: [RingFeature.INDIRECT_DESC],
  },
  {
    disk: {
      ...{ numQueues: 1, queueSize: 1024 },
      properties: { indirect_desc: 'off', event_idx: 'off' },
    },
    without: [RingFeature.INDIRECT_DESC, RingFeature.EVENT_IDX],
  },
  { disk: { numQueues: 2, queueSize: 256 } },
  { disk: { numQueues: 1, queueSize: 1024 } },
  // The smallest with which QEMU has room for a request.
  { disk: { numQueues: 1, queueSize: 4 } },
  {
    disk: { numQueues: 1, properties: { 'config-wce': 'off' } },
    without: [BlockFeature.CONFIG_WCE],
  },
  {
    disk: { numQueues: 2, properties: { 'disable-modern': 'on', 'disable-legacy': 'off' } },
    without: [RingFeature.VERSION_1],
  },
  { disk: { numQueues: 2, properties: { packed: 'on' } } },
  {
    disk: { numQueues: 1, queueSize: 1024, properties: { packed: 'on', indirect_desc: 'off' } },
    without: [RingFeature.INDIRECT_DESC],
  },
  {
    disk: { numQueues: 2, queueSize: 64, properties: { packed: 'on', event_idx: 'off' } },
    without: [RingFeature.EVENT_IDX],
  },
];

function diskName(index: number): string {
  return `vd${String.fromCharCode('a'.charCodeAt(0) + index)}`;
}

const NAMES = CASES.map((_, index) => diskName(index));

/** All disks at once, with requests of many segments and of a part of a page. */
const SCRIPT = `
${DISK_FACTS}
for disk in ${NAMES.join(' ')}; do disk_facts $disk; done
check fio fio --direct=1 --ioengine=libaio --iodepth=32 --size=2M --rw=randwrite \\
  --bssplit=512/20:4k/40:64k/20:512k/20 --verify=crc32c --verify_fatal=1 \\
  ${NAMES.map((name) => `--name=${name} --filename=/dev/${name}`).join(' ')}
discard() { blkdiscard -z /dev/$1 && blkdiscard /dev/$1; }
is_zero() { test $(dd if=/dev/$1 bs=1M count=4 status=none | tr -d '\\0' | wc -c) -eq 0; }
for_all() { for disk in ${NAMES.join(' ')}; do $1 $disk || return 1; done; }
check discard for_all discard
check zeros for_all is_zero
`;

test('the disk works with every setting of the device', { skip }, async (t) => {
  const servers = await Promise.all(CASES.map(() => startServer(t)));
  const disks = servers.map(({ socketPath }, index) => ({ socketPath, ...CASES[index]?.disk }));
  const options = { disks, fio: true, script: SCRIPT, signal: t.signal };
  // So many disks take their time where processors are emulated.
  const report = await bootGuest({ ...options, timeoutMs: 240_000 });
  t.diagnostic(`boot ${report.bootMs.toFixed()} ms, in all ${report.totalMs.toFixed()} ms`);
  assertChecks(report, ['fio', 'discard', 'zeros']);
  for (const server of servers) await server.stop();
  for (const [index, { disk, without = [] }] of CASES.entries()) {
    const facts = diskFacts(report, diskName(index));
    const what = JSON.stringify(disk);
    const missing = USUAL_FEATURES.filter((bit) => !hasAgreedOn(facts, bit));
    assert.deepEqual(missing.toSorted(), [...without].toSorted(), what);
    const isPacked = disk.properties?.packed === 'on';
    assert.equal(hasAgreedOn(facts, RingFeature.RING_PACKED), isPacked, what);
    assert.equal(Number(facts.queues), disk.numQueues, what);
    const { discards = 0, writeZeroes = 0 } = servers[index]?.counted() ?? {};
    assert.ok(discards > 0 && writeZeroes > 0, what);
  }
});

async function startServer(t: TestContext): Promise<VmServer> {
  const image = new DiskImage(4 * MIB);
  t.after(() => image[Symbol.dispose]());
  const server = await VmServer.start(`--blk-file=${image.path}`);
  t.after(() => server[Symbol.asyncDispose]());
  return server;
}
