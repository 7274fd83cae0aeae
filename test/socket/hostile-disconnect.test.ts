/** Clients that hang up where they should not, against the real program. */
import assert from 'node:assert/strict';
import { sendMessage } from '../../src/sys/index.ts';
import { BlockDriver } from '../../src/testing/index.ts';
import { type Attack, attackSuite, WRITABLE_SECTORS } from '../support/attacked-server.ts';
import { RawFrontend, rawFrame } from '../support/raw-frontend.ts';
import {
  handshake,
  type Id,
  RawResources,
  shakeHands,
  standardMessageNames,
} from '../support/raw-handshake.ts';

const NAMES = standardMessageNames();
const HEADER_BYTES = 12;

/** The handshake up to the message before `name`, then `last`, then nothing more. */
async function cut(
  { reactor, socketPath }: Attack,
  name: keyof typeof Id,
  last: (raw: RawFrontend, frame: Buffer, resources: RawResources) => void,
): Promise<void> {
  using resources = new RawResources();
  using raw = new RawFrontend(reactor, socketPath);
  const index = NAMES.indexOf(name);
  if (index > 0) await shakeHands(raw, resources, NAMES[index - 1]);
  const message = handshake(resources)[index];
  last(raw, rawFrame(message.id, message.payload), resources);
}

function fdsOf(name: keyof typeof Id, resources: RawResources) {
  return handshake(resources)[NAMES.indexOf(name)].fds;
}

attackSuite('hostile disconnects: between messages', [], (attack) => {
  attack('a client that says nothing', async ({ reactor, socketPath }) => {
    new RawFrontend(reactor, socketPath)[Symbol.dispose]();
  });
  for (const name of NAMES) {
    // The answer, if there is one, finds nobody: that may be noticed, or not.
    const noticed = /client \d+: connection lost.*: (sendmsg: EPIPE|recvmsg: ECONNRESET).*$/;
    attack(
      `a client that hangs up right after ${name}`,
      (details) =>
        cut(details, name, (raw, frame, resources) => raw.send(frame, fdsOf(name, resources))),
      [],
      [noticed],
    );
  }
});

attackSuite('hostile disconnects: in the middle of a message', [], (attack) => {
  const lost = /connection lost.*: the peer hung up in the middle of a message$/;
  for (const name of NAMES) {
    attack(
      `a client that hangs up within ${name}`,
      async (details) => {
        // Descriptors come with the first byte; all of them must be closed.
        await cut(details, name, (raw, frame, resources) =>
          raw.send(frame.subarray(0, 1), fdsOf(name, resources)),
        );
        await cut(details, name, (raw, frame, resources) =>
          raw.send(frame.subarray(0, HEADER_BYTES - 1), fdsOf(name, resources)),
        );
        await cut(details, name, (raw, frame, resources) => {
          if (frame.length === HEADER_BYTES) raw.send(frame.subarray(0, 4));
          else raw.send(frame.subarray(0, HEADER_BYTES), fdsOf(name, resources));
        });
        await cut(details, name, (raw, frame, resources) => {
          raw.send(frame.subarray(0, -1), fdsOf(name, resources));
        });
      },
      [lost],
    );
  }
});

attackSuite('hostile disconnects: whoever holds the other end keeps it open', [], (attack) => {
  const refused = /connection lost.*: frame with the connection's other end$/;
  attack(
    'a client that leaves its end with the server, in a message that never ends',
    async ({ reactor, socketPath }) => {
      using raw = new RawFrontend(reactor, socketPath);
      raw.send(rawFrame(1).subarray(0, 1), [raw.socket]);
    },
    [refused],
  );
  attack(
    'a client that makes its end the back-end channel',
    async (details) => {
      await cut(details, 'SET_BACKEND_REQ_FD', (raw, frame) => raw.send(frame, [raw.socket]));
    },
    [refused],
  );
  attack('a client that leaves its end in the back-end channel', async (details) => {
    using resources = new RawResources();
    using raw = new RawFrontend(details.reactor, details.socketPath);
    await shakeHands(raw, resources, 'SET_BACKEND_REQ_FD');
    sendMessage(resources.channel[0].number, rawFrame(1).subarray(0, 1), [raw.socket]);
  });
});

attackSuite('hostile disconnects: with requests under way', [], (attack) => {
  for (const numQueues of [1, 4]) {
    attack(`a client that hangs up with ${numQueues * 32} requests under way`, async (details) => {
      const { reactor, socketPath } = details;
      for (let round = 0; round < 5; round++) {
        const driver = await BlockDriver.open({ reactor, socketPath, numQueues });
        const data = new Uint8Array(64 * 512).fill(round);
        const all = Array.from({ length: numQueues * 32 }, (_, index) =>
          driver.write((index * 64) % WRITABLE_SECTORS, data, index % numQueues),
        );
        const outcome = Promise.allSettled(all);
        await Promise.race(all);
        driver.close();
        assert.equal((await outcome).length, numQueues * 32);
      }
    });
  }
  attack('a client that hangs up with reads into its memory under way', async (details) => {
    const { reactor, socketPath } = details;
    for (let round = 0; round < 20; round++) {
      const driver = await BlockDriver.open({ reactor, socketPath });
      const all = Array.from({ length: 60 }, (_, index) => driver.read(index * 16, 256));
      const outcome = Promise.allSettled(all);
      driver.close();
      await outcome;
    }
  });
});
