/** Frames that no front-end would send, against the real program. */
import assert from 'node:assert/strict';
import {
  connectUnix,
  createEventFd,
  type Fd,
  SystemError,
  sendMessage,
} from '../../src/sys/index.ts';
import {
  declarationOf,
  type FrontendMessageName,
  FrontendMessages,
} from '../../src/vhost-user/messages.ts';
import { type Attack, attackSuite } from '../support/attacked-server.ts';
import { eventually } from '../support/eventually.ts';
import { NEED_REPLY, PLAIN, packed, RawFrontend, rawFrame } from '../support/raw-frontend.ts';
import { Id, RawResources, shakeHands } from '../support/raw-handshake.ts';

/** Messages that only other devices, or servers with more features, know. */
const NEVER_NEGOTIATED = new Set<FrontendMessageName>(
  (Object.keys(FrontendMessages) as FrontendMessageName[]).filter((name) =>
    [6, 7, 23, 28, 29, 30, 31, 32, 35, 42, 43, 45].includes(FrontendMessages[name].id),
  ),
);
const NAMES = (Object.keys(FrontendMessages) as FrontendMessageName[]).filter(
  (name) => !NEVER_NEGOTIATED.has(name),
);

/** A connection on which the handshake has got as far as SET_FEATURES. */
async function negotiated(
  { reactor, socketPath }: Attack,
  use: (raw: RawFrontend, resources: RawResources) => Promise<void>,
): Promise<void> {
  using resources = new RawResources();
  using raw = new RawFrontend(reactor, socketPath);
  await shakeHands(raw, resources, 'SET_FEATURES');
  await use(raw, resources);
}

/** Smallest payload a declaration takes. */
function smallestSize(name: FrontendMessageName): number {
  const { request } = declarationOf(name);
  for (let size = 0; ; size++) if (request.accepts(size)) return size;
}

/** The frame is refused: by a `nack`, an empty reply to GET_CONFIG, or by hanging up. */
async function isRefused(
  attack: Attack,
  name: FrontendMessageName,
  payload: Uint8Array,
  fds: readonly Fd[],
): Promise<void> {
  await negotiated(attack, async (raw) => {
    const { id, reply } = declarationOf(name);
    raw.send(rawFrame(id, payload, NEED_REPLY), fds);
    if (name === 'GET_CONFIG') {
      assert.equal((await raw.reply()).payload.length, 0, name);
    } else if (reply !== undefined) {
      await raw.hungUp();
    } else {
      const { payload: answer } = await raw.reply();
      assert.deepEqual([...answer], [1, 0, 0, 0, 0, 0, 0, 0], name);
    }
  });
}

attackSuite('hostile messages: sizes and descriptors', [], (attack) => {
  const WRONG_SIZE =
    /\w+ \(negotiated, no ring active\): carries \d+ bytes, not .*: (refused|connection closed)$/;
  attack(
    'every message that is a byte too short is refused',
    async (details) => {
      for (const name of NAMES) {
        const size = smallestSize(name);
        if (size > 0) await isRefused(details, name, new Uint8Array(size - 1), []);
      }
    },
    [WRONG_SIZE],
  );
  attack(
    'every message that is a byte too long is refused',
    async (details) => {
      for (const name of NAMES) {
        const { request } = declarationOf(name);
        let size = smallestSize(name);
        while (request.accepts(size)) size += 1;
        await isRefused(details, name, new Uint8Array(size), []);
      }
    },
    [WRONG_SIZE],
  );
  attack(
    'every message with a descriptor too many is refused, and the descriptors are closed',
    async (details) => {
      using event = createEventFd();
      for (const name of NAMES) {
        const { request, fds } = declarationOf(name);
        const given = Array.from({ length: fds.max + 1 }, () => event);
        const size = request.accepts(8) ? 8 : smallestSize(name);
        await isRefused(details, name, new Uint8Array(size), given);
      }
    },
    [
      /\w+ \(negotiated, no ring active\): comes with \d+ descriptors, not .*: (refused|connection closed)$/,
    ],
  );
  attack(
    'every message without the descriptor it needs is refused',
    async (details) => {
      for (const name of NAMES) {
        const { fds } = declarationOf(name);
        if (fds.min === 0) continue;
        await isRefused(details, name, new Uint8Array(smallestSize(name)), []);
      }
    },
    [/(SET_BACKEND_REQ_FD|ADD_MEM_REG) .*: comes with 0 descriptors, not 1: refused$/],
  );
  attack(
    'more descriptors than any message has end the connection, and are closed',
    async (details) => {
      using event = createEventFd();
      const many = Array.from({ length: 32 }, () => event);
      await negotiated(details, async (raw) => {
        // 32 go with one sendmsg; the frame goes on, and brings as many again.
        const frame = rawFrame(Id.SET_OWNER);
        raw.send(frame.subarray(0, 4), many);
        raw.send(frame.subarray(4, 8), many);
        await raw.hungUp();
      });
    },
    [/connection lost.*: frame with too many descriptors$/],
  );
});

attackSuite('hostile messages: headers', [], (attack) => {
  for (const size of [4097, 2 ** 31, 2 ** 32 - 1]) {
    attack(
      `a frame that announces ${size} bytes ends the connection`,
      (details) =>
        negotiated(details, async (raw) => {
          raw.send(rawFrame(Id.SET_OWNER, undefined, NEED_REPLY, size));
          await raw.hungUp();
        }),
      [
        new RegExp(
          `connection lost \\(negotiated, no ring active\\): message 3: frame with a payload of ${size} bytes$`,
        ),
      ],
    );
  }
  for (const version of [0, 2, 3]) {
    attack(
      `a frame of version ${version} ends the connection`,
      (details) =>
        negotiated(details, async (raw) => {
          raw.send(rawFrame(Id.SET_OWNER, undefined, 8 | version));
          await raw.hungUp();
        }),
      [
        new RegExp(
          `connection lost \\(negotiated, no ring active\\): message 3: frame of version ${version}$`,
        ),
      ],
    );
  }
  attack(
    'a request that is marked as a reply is refused',
    (details) =>
      negotiated(details, async (raw) => {
        raw.send(rawFrame(Id.SET_OWNER, undefined, NEED_REPLY | 4));
        assert.equal((await raw.reply()).payload.readBigUInt64LE(), 1n);
        // Without the wish for an answer there is only one way to say no.
        raw.send(rawFrame(Id.SET_OWNER, undefined, PLAIN | 4));
        await raw.hungUp();
      }),
    [
      /SET_OWNER \(negotiated, no ring active\): is marked as a reply: refused$/,
      /SET_OWNER \(negotiated, no ring active\): is marked as a reply: connection closed$/,
    ],
  );
  attack(
    'messages of unknown numbers are refused by number, those of other devices by name',
    (details) =>
      negotiated(details, async (raw) => {
        for (const id of [0, 19, 20, 26, 27, 33, 41, 44, 46, 255, 2 ** 31, 2 ** 32 - 1]) {
          assert.equal(await raw.verdict(id, packed(0n)), 'nack', `message ${id}`);
        }
        raw.send(rawFrame(77));
        await raw.hungUp();
      }),
    [
      /message 4294967295 \(negotiated, no ring active\): is unknown: refused$/,
      /message 20 \(.*\): \(NET_SET_MTU\) is for other devices: refused$/,
      /message 77 \(negotiated, no ring active\): is unknown: connection closed$/,
      /message \d+ \(.*\): (is unknown|\(\w+\) is for other devices): refused$/,
    ],
  );
  attack(
    'a flood of messages that are refused does not fill the log',
    async (details) => {
      const { server } = details;
      const before = server.stderr.length;
      const startedMs = performance.now();
      await negotiated(details, async (raw) => {
        for (let index = 0; index < 3000; index++) {
          assert.equal(await raw.verdict(19, packed(0n)), 'nack');
        }
      });
      await server.logged(/\d+ more warnings, too many to be logged\n.*disconnected/);
      const lines = server.stderr.slice(before).split('\n').length;
      // Twice a second: what is left out is said, and one more.
      const allowed = 60 + (2 * (performance.now() - startedMs)) / 1000;
      assert.ok(lines < allowed, `${lines} lines`);
    },
    [
      /message 19 \(.*\): \(\w+\) is for other devices: refused$/,
      /client \d+: \d+ more warnings, too many to be logged$/,
    ],
  );
  attack(
    'messages of features that were not negotiated are refused',
    (details) =>
      negotiated(details, async (raw, { memory }) => {
        for (const name of NEVER_NEGOTIATED) {
          const { id, reply, fds } = declarationOf(name);
          if (reply !== undefined) continue;
          const given = fds.min > 0 ? [memory] : [];
          const payload = new Uint8Array(smallestSize(name));
          assert.equal(await raw.verdict(id, payload, given), 'nack', name);
        }
      }),
    [/SET_VRING_ENDIAN \(.*\): needs CROSS_ENDIAN: refused$/, /\w+ \(.*\): needs \w+: refused$/],
  );
  attack(
    'without REPLY_ACK nothing is acknowledged, and what is wrong ends the connection',
    async ({ reactor, socketPath }) => {
      using raw = new RawFrontend(reactor, socketPath);
      raw.send(rawFrame(Id.SET_OWNER, undefined, NEED_REPLY));
      raw.send(rawFrame(Id.GET_FEATURES, undefined, NEED_REPLY));
      assert.equal((await raw.reply()).id, Id.GET_FEATURES, 'SET_OWNER is not acknowledged');
      raw.send(rawFrame(Id.SET_VRING_NUM, packed(0, 3), NEED_REPLY));
      await raw.hungUp();
    },
    [/SET_VRING_NUM \(connected, no ring active\): ring 0 of size 3: .*: connection closed$/],
  );
  attack(
    'a flood of messages whose answers are not read ends the connection',
    async ({ socketPath }) => {
      using socket = connectUnix(socketPath);
      const frames = Buffer.concat(Array.from({ length: 200 }, () => rawFrame(Id.GET_FEATURES)));
      await eventually('the server hangs up', () => {
        try {
          // Only whole frames, and no more than fit: the answers are what is to be too many.
          sendMessage(socket.number, frames);
          return false;
        } catch (error) {
          return error instanceof SystemError && ['EPIPE', 'ECONNRESET'].includes(error.code);
        }
      });
    },
    [/connection lost.*: the peer does not read what it is sent$/],
  );
});
