/** How sessions end, and what they leave behind: nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { createEventFd, createMemfd } from '../../../src/sys/index.ts';
import { steadyDescriptors, untilDescriptors } from '../../support/descriptor-count.ts';
import { eventually } from '../../support/eventually.ts';
import { negotiate, withPair } from '../../support/session-pair.ts';
import { placeRing, shareMemory, startRing } from '../../support/session-ring.ts';

test('a session that ends stops its rings and closes every descriptor', () =>
  withPair(async (frontend, { device, backend }) => {
    const before = await steadyDescriptors();
    await negotiate(frontend, ['REPLY_ACK', 'BACKEND_REQ']);
    await frontend.openBackendChannel();
    await shareMemory(frontend);
    for (const index of [0, 1]) {
      await placeRing(frontend, index);
      await startRing(frontend, index);
      using event = createEventFd();
      await frontend.request('SET_VRING_CALL', { value: BigInt(index) }, [event]);
      await frontend.request('SET_VRING_ERR', { value: BigInt(index) }, [event]);
      await frontend.request('SET_VRING_ENABLE', { index, num: 1 });
    }
    // Kick, call and error of two rings, and both ends of the channel.
    await untilDescriptors(before + 8);
    device.notes.length = 0;
    frontend.close();
    await backend.ended;
    assert.deepEqual(device.notes, ['abort 0', 'abort 1', 'memory 0']);
    await untilDescriptors(before - 2);
  }));

for (const by of ['its owner', 'a message that makes no sense'] as const) {
  test(`a session that is ended by ${by} hangs up when its rings have halted`, () =>
    withPair(async (frontend, { device, backend }) => {
      await negotiate(frontend, ['REPLY_ACK']);
      await shareMemory(frontend);
      await placeRing(frontend, 0);
      await startRing(frontend, 0);
      await frontend.request('SET_VRING_ENABLE', { index: 0, num: 1 });
      let halted: () => void = () => {};
      device.halting = new Promise((resolve) => {
        halted = resolve;
      });
      if (by === 'its owner') void backend.close();
      else void frontend.request('GET_QUEUE_NUM', null).catch(() => {});
      let isLost = false;
      using event = createEventFd();
      const before = await steadyDescriptors();
      // It is not listened to any more, and what it sends is not kept.
      const late = frontend.request('SET_VRING_CALL', { value: 0n }, [event]).catch((error) => {
        isLost = true;
        return error;
      });
      try {
        await eventually('the ring halts', () => device.running.size === 0);
        for (let turn = 0; turn < 20; turn++) await setImmediate();
        assert.equal(isLost, false);
        await untilDescriptors(before);
      } finally {
        halted();
      }
      assert.equal((await late).code, 'DISCONNECTED');
      await backend.ended;
    }));
}

test('descriptors that are replaced or refused are closed at once', () =>
  withPair(async (frontend) => {
    await negotiate(frontend, ['REPLY_ACK']);
    using event = createEventFd();
    using file = createMemfd('odd', 4096);
    await frontend.request('SET_VRING_CALL', { value: 0n }, [event]);
    const before = await steadyDescriptors();
    for (let round = 0; round < 10; round++) {
      await frontend.request('SET_VRING_CALL', { value: 0n }, [event]);
      const wrong = frontend.request('SET_VRING_CALL', { value: 0n }, [file]);
      await assert.rejects(wrong, { code: 'REFUSED' });
      const away = frontend.request('SET_VRING_ERR', { value: 9n }, [event]);
      await assert.rejects(away, { code: 'REFUSED' });
    }
    await untilDescriptors(before);
  }));

test('a session that was closed opens no channel any more', () =>
  withPair(async (frontend) => {
    await negotiate(frontend, ['REPLY_ACK', 'BACKEND_REQ']);
    frontend.close();
    const before = await steadyDescriptors();
    await assert.rejects(frontend.openBackendChannel(), { code: 'DISCONNECTED' });
    await untilDescriptors(before);
  }));
