/** Frames on a socket: however they are cut, they come whole, in order, with their descriptors. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AttachedHome,
  closeAll,
  createEventFd,
  createMemfd,
  createReactor,
  createSocketPair,
  type Fd,
  sendMessage,
} from '../../../src/sys/index.ts';
import { Channel, type Frame, type ProtocolError } from '../../../src/vhost-user/index.ts';
import { eventually } from '../../support/eventually.ts';
import { openDescriptors } from '../../support/open-descriptors.ts';
import { rawFrame } from '../../support/raw-frontend.ts';

/** What a channel has told. */
interface Told {
  readonly channel: Channel;
  readonly frames: Frame[];
  readonly ends: (ProtocolError | undefined)[];
}

async function withChannel(
  use: (socket: Fd, told: Told) => Promise<void>,
  onFrame: (frame: Frame, told: Told) => Promise<void> = async () => {},
): Promise<void> {
  const { reactor } = createReactor('attached', 'epoll');
  const home = new AttachedHome(reactor);
  const [ours, theirs] = createSocketPair();
  const frames: Frame[] = [];
  const ends: (ProtocolError | undefined)[] = [];
  const channel = new Channel(reactor, theirs, {
    onFrame: async (frame) => {
      frames.push(frame);
      await onFrame(frame, told);
    },
    onClosed: (reason) => ends.push(reason),
  });
  const told: Told = { channel, frames, ends };
  try {
    await use(ours, told);
  } finally {
    channel.close();
    for (const frame of frames) closeAll(frame.fds);
    ours[Symbol.dispose]();
    home.close();
    reactor[Symbol.dispose]();
  }
}

test('a frame that comes byte by byte comes whole', () =>
  withChannel(async (socket, { frames }) => {
    const bytes = Buffer.concat([rawFrame(8, Buffer.from('payload!')), rawFrame(3)]);
    for (const byte of bytes) {
      sendMessage(socket.number, Uint8Array.of(byte));
      await new Promise(setImmediate);
    }
    await eventually('both frames have come', () => frames.length === 2);
    assert.deepEqual([frames[0].id, frames[0].flags], [8, 1]);
    assert.equal(Buffer.from(frames[0].payload).toString(), 'payload!');
    assert.deepEqual([frames[1].id, frames[1].payload.length], [3, 0]);
  }));

test('frames that come together come one after the other, each when the last is done', () => {
  let active = 0;
  return withChannel(
    async (socket, { frames }) => {
      const ids = Array.from({ length: 100 }, (_, index) => index);
      sendMessage(socket.number, Buffer.concat(ids.map((id) => rawFrame(id, Buffer.alloc(8)))));
      await eventually('all frames have come', () => frames.length === 100);
      assert.deepEqual(
        frames.map(({ id }) => id),
        ids,
      );
    },
    async () => {
      active += 1;
      assert.equal(active, 1);
      await new Promise(setImmediate);
      active -= 1;
    },
  );
});

test('descriptors come with the frame they were sent with', () =>
  withChannel(async (socket, { frames }) => {
    using event = createEventFd();
    sendMessage(socket.number, rawFrame(1), [event]);
    sendMessage(socket.number, rawFrame(2));
    sendMessage(socket.number, rawFrame(3, Buffer.alloc(8)), [event, event]);
    await eventually('all frames have come', () => frames.length === 3);
    assert.deepEqual(
      frames.map(({ fds }) => fds.length),
      [1, 0, 2],
    );
  }));

const BROKEN: readonly (readonly [string, Buffer, string, RegExp])[] = [
  ['version 0', rawFrame(1, undefined, 0), 'BAD_FRAME', /version 0/],
  ['version 3', rawFrame(1, undefined, 3), 'BAD_FRAME', /version 3/],
  ['a payload of 4 GiB', rawFrame(1, undefined, 1, 2 ** 32 - 1), 'BAD_FRAME', /4294967295 bytes/],
  ['half a header', rawFrame(1).subarray(0, 6), 'DISCONNECTED', /in the middle of a message/],
  ['half a payload', rawFrame(1, undefined, 1, 8), 'DISCONNECTED', /in the middle of a message/],
];

for (const [what, bytes, code, message] of BROKEN) {
  test(`${what} ends the connection, once, and with a reason`, () =>
    withChannel(async (socket, { channel, frames, ends }) => {
      sendMessage(socket.number, rawFrame(9));
      sendMessage(socket.number, bytes);
      if (code === 'DISCONNECTED') socket.close();
      await eventually('the channel ends', () => ends.length > 0);
      assert.equal(ends.length, 1);
      assert.equal(ends[0]?.code, code);
      assert.match(ends[0]?.message ?? '', message);
      assert.equal(channel.isClosed, true);
      assert.equal(frames.length, 1, 'the frame before is good');
    }));
}

test('a peer that hangs up between frames ends the connection without a reason', () =>
  withChannel(async (socket, { frames, ends }) => {
    sendMessage(socket.number, rawFrame(9));
    socket.close();
    await eventually('the channel ends', () => ends.length > 0);
    assert.deepEqual(ends, [undefined]);
    assert.equal(frames.length, 1);
  }));

test('a peer that reads nothing is hung up on when its socket is full', () =>
  withChannel(async (_socket, { channel, ends }) => {
    for (let count = 0; count < 10_000 && !channel.isClosed; count++) {
      channel.send(1, 0, new Uint8Array(4096));
    }
    assert.equal(ends.length, 1);
    assert.match(ends[0]?.message ?? '', /does not read what it is sent/);
    channel.send(1, 0, new Uint8Array(8));
  }));

test('a closed channel delivers nothing more, and closes the descriptors of what waits', async () => {
  await withChannel(
    async (socket, { frames, channel }) => {
      using file = createMemfd('of-a-frame', 4096);
      const open = (): number =>
        openDescriptors().filter((line) => line.includes('of-a-frame')).length;
      for (let id = 1; id <= 40; id++) sendMessage(socket.number, rawFrame(id), [file]);
      await eventually('the channel is closed', () => channel.isClosed);
      await new Promise(setImmediate);
      await new Promise(setImmediate);
      assert.equal(frames.length, 16, 'none after the one under which it was closed');
      for (const frame of frames) closeAll(frame.fds);
      await eventually('only the file itself is open', () => open() === 1);
    },
    async (frame, { channel }) => {
      // 16 are handled in one go; the next waits for the event loop, and so comes after this.
      if (frame.id === 16)
        void Promise.resolve().then(() => process.nextTick(() => channel.close()));
    },
  );
});
