/** Waiting for a program that says nothing when it serves. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Generous: a busy machine shall not fail a test. */
const LOOKS = 1000;
const LOOK_MS = 20;

/**
 * Resolves when a socket takes connections: its path is there some time before. The server sees a
 * client that comes and goes.
 */
export async function untilListening(
  place: string | { readonly port: number; readonly host: string },
): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    const socket = typeof place === 'string' ? connect(place) : connect(place);
    const isThere = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isThere) return;
    await sleep(LOOK_MS);
  }
  throw new Error(`nobody listens at ${JSON.stringify(place)}`);
}
