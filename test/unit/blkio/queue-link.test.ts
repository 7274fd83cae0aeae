/** The device's thread and the thread of a queue, in step: any order of commands and of turns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  DeviceEnd,
  QueueThreadEnd,
} from '../../../src/blkio/drivers/virtio-blk-vhost-user/queue-link.ts';
import type { QueueUser } from '../../../src/blkio/drivers/virtio-blk-vhost-user/queue-set.ts';
import { Lease } from '../../../src/blkio/lease.ts';
import { createReactor, type Reactor } from '../../../src/sys/index.ts';

const ENOTCONN = -107;

/** A queue that writes down what it is told, and minds the order. */
class RecordingUser implements QueueUser {
  isQuiet: boolean;
  failure = 0;

  constructor(isConnected: boolean) {
    this.isQuiet = !isConnected;
  }

  lose(): void {
    this.isQuiet = true;
  }

  resume(): void {
    assert.ok(this.isQuiet, 'a ring is replaced only when it was let go of');
    this.isQuiet = false;
  }

  fail(result: number): void {
    this.isQuiet = true;
    this.failure = result;
  }
}

/** Both ends, on a reactor each. */
class Ends implements Disposable {
  readonly lease = new Lease();
  readonly device: DeviceEnd;
  readonly faults: number[] = [];
  quietCalls = 0;
  user: RecordingUser | undefined;
  readonly #deviceReactor: Reactor = createReactor('blocking').reactor;
  readonly #queueReactor: Reactor = createReactor('blocking').reactor;
  #queue: QueueThreadEnd | undefined;

  constructor() {
    this.device = new DeviceEnd(this.#deviceReactor, this.lease, {
      onQuiet: () => {
        this.quietCalls += 1;
      },
      onFault: (fault) => this.faults.push(fault),
    });
  }

  /** The other thread takes the queue, with an end that was made before. */
  adopt(): void {
    if (!this.lease.take()) return;
    const end = new QueueThreadEnd(this.device.share());
    this.user = new RecordingUser(end.startsConnected);
    end.obey(this.#queueReactor, this.user);
    this.#queue = end;
  }

  end(): void {
    if (this.#queue === undefined) return;
    this.#queue.stopListening();
    this.lease.end();
    this.#queue.close();
    this.#queue = undefined;
  }

  sayFault(): void {
    this.#queue?.sayFault(2);
  }

  turnQueue(): void {
    this.#queueReactor.turn();
  }

  turnDevice(): void {
    this.#deviceReactor.turn();
  }

  [Symbol.dispose](): void {
    this.end();
    this.device.close();
    this.#queueReactor[Symbol.dispose]();
    this.#deviceReactor[Symbol.dispose]();
  }
}

type Action = 'adopt' | 'lose' | 'resume' | 'fault' | 'end' | 'queue' | 'device';
const ACTIONS: readonly Action[] = ['adopt', 'lose', 'resume', 'fault', 'end', 'queue', 'device'];

/** What the device wants, and what it does when it may. */
class Device {
  isLost = false;
  readonly #ends: Ends;

  constructor(ends: Ends) {
    this.#ends = ends;
  }

  do(action: Action): void {
    const ends = this.#ends;
    if (action === 'adopt') ends.adopt();
    else if (action === 'end') ends.end();
    else if (action === 'fault') ends.sayFault();
    else if (action === 'queue') ends.turnQueue();
    else if (action === 'device') ends.turnDevice();
    else if (action === 'lose') this.#lose();
    else this.#resume();
  }

  #lose(): void {
    if (this.isLost) return;
    this.isLost = true;
    this.#ends.device.lose();
  }

  #resume(): void {
    const { device, lease, user } = this.#ends;
    if (!this.isLost || !device.isQuiet) return;
    if (lease.isHeld) assert.ok(user?.isQuiet, 'whoever holds the queue has let go of the ring');
    this.isLost = false;
    device.resume(false);
  }
}

test('a ring is only restarted once its user has let go, and the user always learns of it', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...ACTIONS), { maxLength: 60 }), (actions) => {
      using ends = new Ends();
      const device = new Device(ends);
      for (const action of actions) device.do(action);
      ends.turnQueue();
      if (ends.lease.isHeld) assert.equal(ends.user?.isQuiet, device.isLost);
      device.do('lose');
      ends.turnQueue();
      assert.ok(ends.device.isQuiet, 'and the device of that');
    }),
    { numRuns: 300 },
  );
});

test('the device is told when the ring is let go of, and when its user is gone', () => {
  using ends = new Ends();
  ends.adopt();
  ends.device.lose();
  ends.turnDevice();
  assert.equal(ends.quietCalls, 0, 'not yet');
  ends.turnQueue();
  ends.turnDevice();
  assert.equal(ends.quietCalls, 1);
  ends.end();
  ends.turnDevice();
  assert.equal(ends.quietCalls, 2);
});

test('a fault of a ring that was replaced is forgotten', () => {
  using ends = new Ends();
  ends.adopt();
  ends.sayFault();
  ends.device.lose();
  ends.turnQueue();
  ends.device.resume(false);
  ends.turnDevice();
  assert.deepEqual(ends.faults, []);
  ends.turnQueue();
  ends.sayFault();
  ends.turnDevice();
  assert.deepEqual(ends.faults, [2]);
});

test('a queue whose device was given up before it was taken is told so', () => {
  using ends = new Ends();
  ends.device.fail(ENOTCONN);
  ends.adopt();
  assert.equal(ends.user?.failure, ENOTCONN);
});

test('the size is that of the device, however large', () => {
  using ends = new Ends();
  ends.device.capacityBytes = 2 ** 52;
  const end = new QueueThreadEnd(ends.device.share());
  assert.equal(end.capacityBytes, 2 ** 52);
  ends.device.capacityBytes = 512;
  assert.equal(end.capacityBytes, 512);
  end.close();
});
