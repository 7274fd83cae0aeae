/** How sessions end, and what they leave behind: nothing. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { createEventFd, createMemfd } from '../../../src/sys/index.ts';
import { eventually } from '../../support/eventually.ts';
import { negotiate, withPair } from '../../support/session-pair.ts';
import { placeRing, shareMemory, startRing } from '../../support/session-ring.ts';

const openFds = (): number => readdirSync('/proc/self/fd').length;

/** Wait for what earlier tests of this file still have to close. */
async function steady(): Promise<number> {
  let last = -1;
  let since = 0;
  return eventually('the number of descriptors is steady', () => {
    const now = openFds();
    since = now === last ? since + 1 : 0;
    last = now;
    return since >= 20 ? now : undefined;
  });
}

test('a session that ends stops its rings and closes every descriptor', () =>
  withPair(async (frontend, { device, backend }) => {
    const before = await steady();
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
    assert.equal(openFds(), before + 8);
    device.notes.length = 0;
    frontend.close();
    await backend.ended;
    assert.deepEqual(device.notes, ['halt 0', 'halt 1', 'memory 0']);
    assert.equal(openFds(), before - 2);
  }));

test('descriptors that are replaced or refused are closed at once', () =>
  withPair(async (frontend) => {
    await negotiate(frontend, ['REPLY_ACK']);
    using event = createEventFd();
    using file = createMemfd('odd', 4096);
    await frontend.request('SET_VRING_CALL', { value: 0n }, [event]);
    const before = await steady();
    for (let round = 0; round < 10; round++) {
      await frontend.request('SET_VRING_CALL', { value: 0n }, [event]);
      const wrong = frontend.request('SET_VRING_CALL', { value: 0n }, [file]);
      await assert.rejects(wrong, { code: 'REFUSED' });
      const away = frontend.request('SET_VRING_ERR', { value: 9n }, [event]);
      await assert.rejects(away, { code: 'REFUSED' });
    }
    assert.equal(openFds(), before);
  }));
