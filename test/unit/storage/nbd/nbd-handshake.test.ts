/** The handshake with servers of all ages, and with those that mean no good. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { nbd } from '../../../../src/storage/index.ts';
import { type FakeNbdOptions, FakeNbdServer } from '../../../support/fake-nbd-server.ts';
import {
  ALL_FLAGS,
  blockSizeInfo,
  exportInfo,
  FLAGS,
  optionReply,
  u,
} from '../../../support/nbd-messages.ts';
import { OpenedDisk } from '../../../support/opened-disk.ts';

const MIB = 2 ** 20;
const ERROR = 2 ** 31;

async function opened(t: { after(clean: () => Promise<void>): void }, options: FakeNbdOptions) {
  const server = await FakeNbdServer.start(options);
  t.after(() => server[Symbol.asyncDispose]());
  return OpenedDisk.open(nbd(server.uri));
}

suite('the NBD handshake', () => {
  const servers: [name: string, options: FakeNbdOptions][] = [
    ['a server with all of it', {}],
    ['no structured replies', { options: { 8: false } }],
    ['no NBD_OPT_GO', { options: { 7: false } }],
    ['no NBD_OPT_GO, and zeroes', { options: { 7: false }, handshakeFlags: 1 }],
    ['not fixed newstyle', { handshakeFlags: 0 }],
    ['not fixed newstyle, no zeroes', { handshakeFlags: 2 }],
  ];
  for (const [name, options] of servers) {
    test(`${name}: is read and written`, async (t) => {
      await using disk = await opened(t, options);
      assert.equal(disk.disk.info.sizeBytes, MIB);
      await disk.access.write(Buffer.alloc(4096, 5), 8192);
      const found = await disk.read(4096, 8192);
      assert.deepEqual(found, Buffer.concat([Buffer.alloc(4096), Buffer.alloc(4096, 5)]));
    });
  }

  test('what a disk can do is what the server can', async (t) => {
    await using all = await opened(t, {});
    assert.deepEqual(
      { ...all.disk.info },
      {
        ...{ sizeBytes: MIB, readOnly: false, logicalBlockBytes: 512, physicalBlockBytes: 4096 },
        ...{ minIoBytes: 4096, optimalIoBytes: 0 },
        ...{ canDiscard: true, canWriteZeroes: true, writeBack: true },
      },
    );
    await using bare = await opened(t, { flags: FLAGS.has });
    const { canDiscard, canWriteZeroes, writeBack, readOnly } = bare.disk.info;
    assert.deepEqual(
      { canDiscard, canWriteZeroes, writeBack, readOnly },
      { canDiscard: false, canWriteZeroes: false, writeBack: false, readOnly: false },
    );
    // Without HAS_FLAGS the others mean nothing.
    await using none = await opened(t, { flags: FLAGS.trim | FLAGS.flush });
    assert.deepEqual([none.disk.info.canDiscard, none.disk.info.writeBack], [false, false]);
    await using readOnly_ = await opened(t, { flags: ALL_FLAGS | FLAGS.readOnly });
    assert.equal(readOnly_.disk.info.readOnly, true);
  });

  test('block sizes are those of the server', async (t) => {
    await using disk = await opened(t, { blockSizes: [4096, 65536, MIB] });
    const { logicalBlockBytes, physicalBlockBytes, minIoBytes } = disk.disk.info;
    assert.deepEqual([logicalBlockBytes, physicalBlockBytes, minIoBytes], [4096, 65536, 65536]);
  });

  const hello = Buffer.from('NBDMAGICIHAVEOPT');
  const go = (...replies: [type: number, data?: Buffer][]): FakeNbdOptions => ({
    options: { 7: Buffer.concat(replies.map(([type, data]) => optionReply(7, type, data))) },
  });
  const refused: [name: string, options: FakeNbdOptions, message: RegExp][] = [
    ['no NBD server', { greet: (c) => c.send(Buffer.from('HTTP/1.1 400 Bad Request')) }, /no NBD/],
    [
      'oldstyle',
      { greet: (c) => c.send(Buffer.from('NBDMAGIC'), u(8, 0x00420281861253)) },
      /oldstyle/,
    ],
    ['hangs up', { greet: (c) => void c.socket.end(hello) }, /closed the connection/],
    ['floods', { greet: (c) => c.send(Buffer.alloc(MIB)) }, /more than it was asked/],
    [
      'no such export',
      go([ERROR + 6, Buffer.from('sorry\x1b[2J')]),
      /no such export \("sorry \[2J"\)/,
    ],
    ['wants TLS', { options: { 8: optionReply(8, ERROR + 5) } }, /nbds:/],
    ['wants TLS for the export', go([ERROR + 5]), /nbds:/],
    ['shuts down', go([ERROR + 7]), /shutting down/],
    ['an unknown error', go([ERROR + 77]), /error 77/],
    ['no size', go([1]), /how large/],
    ['a size of 2^63', go([3, exportInfo(2n ** 63n, ALL_FLAGS)], [1]), /more than a disk/],
    ['an export of a wrong length', go([3, Buffer.alloc(11)]), /wrong length/],
    ['information without a type', go([3, Buffer.alloc(1)]), /without a type/],
    ['block sizes of a wrong length', go([3, u(2, 3, 4, 1)]), /wrong length/],
    ...[
      [0, 4096, MIB],
      [3, 4096, MIB],
      [131072, 131072, MIB],
      [4096, 512, MIB],
      [1, 4095, MIB],
      [1, 4096, 511],
      [4096, 4096, 2048],
    ].map((sizes): [string, FakeNbdOptions, RegExp] => [
      `block sizes ${sizes.join(', ')}`,
      go([3, blockSizeInfo(...sizes)]),
      /make no sense/,
    ]),
    ['a reply of another type', go([2]), /type 2/],
    ['information without end', go(...Array(100).fill([3, u(2, 77)])), /do not end/],
    ['a reply to another option', { options: { 7: optionReply(6, 1) } }, /another option/],
    ['a wrong magic number', { options: { 7: Buffer.alloc(20) } }, /magic/],
    [
      'a reply of 4 GiB',
      { options: { 7: Buffer.concat([optionReply(7, 3).subarray(0, 16), u(4, 2 ** 32 - 1)]) } },
      /4294967295 bytes/,
    ],
    ['an empty export', go([3, exportInfo(0, ALL_FLAGS)], [1]), /no bytes/],
  ];
  for (const [name, options, message] of refused) {
    test(`refused: ${name}`, async (t) => {
      const error = await opened(t, options).then(
        () => assert.fail('it was opened'),
        (reason: unknown) => reason,
      );
      const expected = name === 'an empty export' ? 'DISK_EMPTY' : 'DISK_REMOTE';
      assert.equal((error as { code: string }).code, expected);
      assert.match((error as Error).message, message);
      assert.match((error as Error).message, /^nbd: nbd\+unix:.*$/, 'one line that says where');
    });
  }

  test('a server that is not there', async () => {
    const uri = 'nbd+unix:///?socket=/nowhere/at/all';
    await assert.rejects(OpenedDisk.open(nbd(uri)), { code: 'DISK_REMOTE', message: /ENOENT/ });
  });

  test('TLS that is refused is not done without', async (t) => {
    const server = await FakeNbdServer.start({});
    t.after(() => server[Symbol.asyncDispose]());
    const uri = server.uri.replace('nbd+unix', 'nbds+unix');
    await assert.rejects(OpenedDisk.open(nbd(uri)), { message: /TLS is refused/ });
  });

  test('TLS that begins with plain bytes is refused', async (t) => {
    const injected = Buffer.concat([optionReply(5, 1), optionReply(8, 1)]);
    const server = await FakeNbdServer.start({ options: { 5: injected } });
    t.after(() => server[Symbol.asyncDispose]());
    const uri = server.uri.replace('nbd+unix', 'nbds+unix');
    await assert.rejects(OpenedDisk.open(nbd(uri)), { message: /goes on without TLS/ });
  });

  test('parameters that do not fit', async () => {
    const plan = nbd('nbd://host/', { tlsCa: 'x' });
    await assert.rejects(OpenedDisk.open(plan), { code: 'DISK_OPTION', message: /nbds:/ });
    const alone = nbd('nbds://host/', { tlsKey: 'x' });
    await assert.rejects(OpenedDisk.open(alone), { code: 'DISK_OPTION', message: /together/ });
    const missing = nbd('nbds://host/', { tlsCa: '/nowhere' });
    await assert.rejects(OpenedDisk.open(missing), {
      code: 'DISK_OPEN_FAILED',
      message: /nowhere/,
    });
  });
});
