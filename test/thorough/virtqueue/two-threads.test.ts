/**
 * Both sides of a ring on threads of their own, each of which sleeps whenever the other side lets
 * it: a wake-up that is lost, or an entry that is seen before it is whole, ends the conversation.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createEventFd, Mapping, signalEvent } from '../../../src/sys/index.ts';
import type { RingFormat } from '../../../src/virtqueue/index.ts';
import { PART_BYTES, type RingSideOptions } from '../../support/ring-side-options.ts';

/** Generous: thousands of wake-ups on a machine that is busy. */
const DEADLINE_MS = 60_000;

function startSide(options: RingSideOptions): Worker {
  const url = new URL('../../support/ring-side-thread.js', import.meta.url);
  return new Worker(url, { workerData: options });
}

async function converse(
  format: RingFormat,
  size: number,
  eventIdx: boolean,
  chains: number,
): Promise<void> {
  using kick = createEventFd({ blocking: true });
  using call = createEventFd({ blocking: true });
  using mapping = Mapping.anonymous(3 * PART_BYTES);
  const stop = new SharedArrayBuffer(4);
  const fds = { kickFd: kick.number, callFd: call.number };
  const common = { format, size, eventIdx, chains, stop, ...fds };
  const device = startSide({ ...common, side: 'device', memory: mapping.handle() });
  const driver = startSide({ ...common, side: 'driver', memory: mapping.handle() });
  const ended = Promise.all([once(device, 'exit'), once(driver, 'exit')]);
  const end = (): void => {
    Atomics.store(new Int32Array(stop), 0, 1);
    signalEvent(kick.number);
    signalEvent(call.number);
  };
  const deadline = setTimeout(end, DEADLINE_MS);
  try {
    const [done] = await Promise.race([once(driver, 'message'), ended.then(() => ['nobody'])]);
    assert.equal(done, chains, `answered before ${DEADLINE_MS} ms have passed`);
  } finally {
    clearTimeout(deadline);
    end();
    await ended;
  }
}

const SIZES = { split: [1, 4, 64], packed: [1, 3, 64] } as const;

for (const format of ['split', 'packed'] as const) {
  for (const eventIdx of [false, true]) {
    for (const size of SIZES[format]) {
      const name = `${format} ring of ${size}, EVENT_IDX ${eventIdx ? 'on' : 'off'}`;
      test(`no wake-up is lost between two threads: ${name}`, async () => {
        await converse(format, size, eventIdx, size === 64 ? 70_000 : 5000 * size);
      });
    }
  }
}
