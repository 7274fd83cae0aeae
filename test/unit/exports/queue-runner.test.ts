/** Rings that cannot come to run: nothing of them is left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QueueRunner } from '../../../src/exports/vhost-user-blk/queue-runner.ts';
import { type Disk, nullDisk, openDisk } from '../../../src/storage/index.ts';
import { createReactor, Errno, Mapping, SystemError } from '../../../src/sys/index.ts';
import type { RingSetup } from '../../../src/vhost-user/index.ts';
import { createCounters, DeviceState } from '../../../src/virtio-blk/index.ts';
import { inflightLogBytes } from '../../../src/virtqueue/index.ts';
import { collectUntil } from '../../support/memory-maps.ts';

const SIZE = 16;
const MEMORY_BYTES = 65536;
const USER = 0x7000_0000_0000;

test('a ring for whose disk there is no memory lets its in-flight log go', async () => {
  const { reactor } = createReactor('attached', 'epoll');
  using memory = Mapping.anonymous(MEMORY_BYTES);
  using log = Mapping.anonymous(inflightLogBytes(SIZE, 'split'));
  const disk: Disk = await openDisk(nullDisk(MEMORY_BYTES));
  disk.openChannel = () => {
    throw new SystemError('io_uring_setup', Errno.ENOMEM);
  };
  const [state, counters] = [new DeviceState(), createCounters(1)];
  const runner = new QueueRunner({ reactor, disk, state, counters, serial: 'test' });
  const place = { guestAddress: 0, userAddress: USER, sizeBytes: MEMORY_BYTES };
  runner.setMemory([{ ...place, mapping: memory.handle() }]);
  const mapping = log.handle();
  const users = new Int32Array(mapping.references);
  const before = users[0];
  const setup: RingSetup = {
    ...{ index: 0, size: SIZE, base: 0, features: 1n << 32n },
    descriptorAddress: USER,
    availableAddress: USER + 4096,
    usedAddress: USER + 8192,
    ...{ kickFd: undefined, callFd: undefined, errFd: undefined },
    inflight: { mapping, offsetBytes: 0, queueSize: SIZE },
    ...{ usedLogAddress: undefined, logFd: undefined },
  };
  assert.throws(() => runner.runRing(setup, () => {}), { code: 'ENOMEM' });
  // The ring has looked at it: what it has seen it through is garbage.
  assert.ok(await collectUntil(() => users[0] === before - 1));
  runner.close();
  reactor[Symbol.dispose]();
});
