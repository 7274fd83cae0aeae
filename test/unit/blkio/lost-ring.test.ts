/** A ring whose back-end is lost between the data of a FUA write and its flush. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  QueueEvents,
  QueueMemory,
  queueBytes,
  SlotOffset,
} from '../../../src/blkio/drivers/virtio-blk-vhost-user/queue-memory.ts';
import { VirtioBlkChannel } from '../../../src/blkio/drivers/virtio-blk-vhost-user/virtio-blk-channel.ts';
import { MemoryRegion } from '../../../src/blkio/index.ts';
import { DiskFlag, DiskOperation, DiskRequests } from '../../../src/storage/index.ts';
import { createReactor, PENDING } from '../../../src/sys/index.ts';
import { RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { SplitRing } from '../../../src/virtqueue/index.ts';
import type { CleanUp } from '../../support/image-folder.ts';

const SIZE = 16;
const SLOT = 0;

/** A queue with one slot in use, and both of its sides in the test's hands. */
class HeldQueue {
  readonly memory: QueueMemory;
  readonly channel: VirtioBlkChannel;
  /** Results of the slot's request so far. */
  readonly results: number[] = [];
  readonly #reactor = createReactor('blocking').reactor;
  readonly #requests = new DiskRequests(SIZE);
  #device: SplitRing;

  constructor(t: CleanUp) {
    const region = MemoryRegion.allocate(queueBytes(SIZE, 'split'));
    const events = QueueEvents.create();
    this.memory = new QueueMemory({
      index: 0,
      size: SIZE,
      region,
      offsetBytes: 0,
      events,
      format: 'split',
    });
    this.#device = new SplitRing(this.memory.ring, false, 0);
    this.channel = new VirtioBlkChannel({
      ...{ memory: this.memory, reactor: this.#reactor, requests: this.#requests },
      ...{ isPolled: false, eventIdx: false, indirect: true, canFlush: true },
      ...{ maxSegmentLen: 0, maxSegments: 8, isConnected: true, reconnectsHere: true },
      handler: { onDiskDone: (_slot, result) => this.results.push(result) },
      onBroken: (fault) => assert.fail(`fault ${fault}`),
      onClose: () => {},
    });
    t.after(() => {
      this.channel.close();
      this.#requests[Symbol.dispose]();
      this.memory[Symbol.dispose]();
      region[Symbol.dispose]();
      this.#reactor[Symbol.dispose]();
    });
  }

  /** Write a block with FUA. */
  write(): void {
    const requests = this.#requests;
    requests.operation[SLOT] = DiskOperation.WRITE;
    requests.flags[SLOT] = DiskFlag.STABLE;
    requests.lengthBytes[SLOT] = 512;
    requests.iovecs.push(SLOT, 4096, 0, 512);
    assert.equal(this.channel.start(SLOT), PENDING);
    this.channel.flush();
  }

  /** Do the one request that is on the ring. Returns its type. */
  doOne(): number {
    const { slots } = this.memory;
    assert.equal(this.#device.availableCount(), 1);
    const head = this.#device.takeHead();
    slots.setUint8(SlotOffset.STATUS, Status.OK);
    this.#device.pushUsed(head, 1);
    this.#device.publish();
    return slots.getUint32(SlotOffset.HEADER, true);
  }

  turn(): void {
    this.#reactor.turn();
  }

  /** Another back-end, which knows nothing of the ring. */
  replaceDevice(): void {
    this.memory.clear();
    this.#device = new SplitRing(this.memory.ring, false, 0);
  }
}

test('the next one goes on with the ring: the flush is all that is missing', (t) => {
  const queue = new HeldQueue(t);
  queue.write();
  assert.equal(queue.doOne(), RequestType.OUT);
  queue.channel.lose();
  assert.deepEqual(queue.results, []);
  queue.channel.resume(true);
  assert.equal(queue.doOne(), RequestType.FLUSH);
  queue.turn();
  assert.deepEqual(queue.results, [0]);
});

test('the next one starts anew: the data is written again, and flushed', (t) => {
  const queue = new HeldQueue(t);
  queue.write();
  assert.equal(queue.doOne(), RequestType.OUT);
  queue.channel.lose();
  queue.replaceDevice();
  queue.channel.resume(false);
  assert.equal(queue.doOne(), RequestType.OUT);
  queue.turn();
  assert.equal(queue.doOne(), RequestType.FLUSH);
  queue.turn();
  assert.deepEqual(queue.results, [0]);
});

test('there is none: it fails, once', (t) => {
  const queue = new HeldQueue(t);
  queue.write();
  queue.doOne();
  queue.channel.lose();
  queue.channel.fail(-104);
  assert.deepEqual(queue.results, [-104]);
});
