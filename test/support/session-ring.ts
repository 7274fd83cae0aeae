/** Sets up rings of a session, as far as the messages go. */
import { createEventFd, createMemfd } from '../../src/sys/index.ts';
import type { FrontendSession } from '../../src/vhost-user/index.ts';

export const USER = 0x7000_0000_0000;
const REGION = { guestAddress: 0, sizeBytes: 0x10000, userAddress: USER, mmapOffset: 0 };

/** Share 64 KiB of memory. */
export async function shareMemory(frontend: FrontendSession, userAddress = USER): Promise<void> {
  using file = createMemfd('session-test', REGION.sizeBytes);
  await frontend.request('SET_MEM_TABLE', [{ ...REGION, userAddress }], [file]);
}

/** Size and addresses of a ring. */
export async function placeRing(frontend: FrontendSession, index = 0): Promise<void> {
  const descriptor = USER + index * 0x4000;
  const addresses = { descriptor, available: descriptor + 0x1000, used: descriptor + 0x2000 };
  await frontend.request('SET_VRING_NUM', { index, num: 64 });
  await frontend.request('SET_VRING_BASE', { index, num: 5 });
  await frontend.request('SET_VRING_ADDR', { index, flags: 0, log: 0n, ...addresses });
}

/** The kick descriptor: this starts the ring. */
export async function startRing(frontend: FrontendSession, index = 0): Promise<void> {
  using kick = createEventFd();
  await frontend.request('SET_VRING_KICK', { value: BigInt(index) }, [kick]);
}
