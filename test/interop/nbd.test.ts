/** The disk `nbd` with NBD servers that others have written. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type DiskAccess, nbd, openAccess, openDisk } from '../../src/storage/index.ts';
import { eventually } from '../support/eventually.ts';
import { imageFolder } from '../support/image-folder.ts';
import { NbdPeer, nbdRequirements, run } from '../support/nbd-peer.ts';
import { OpenedDisk } from '../support/opened-disk.ts';
import { propertyOptions } from '../support/property-options.ts';
import { assertSameBytes, patternBytes } from '../support/request-bytes.ts';
import { ServedDisk } from '../support/served-disk.ts';
import { makeCertificates } from '../support/test-certificates.ts';

const MIB = 2 ** 20;
const SIZE = 8 * MIB;
const noNbdkit = nbdRequirements('nbdkit');
const noQemuNbd = nbdRequirements('qemu-nbd');

/** A server's program, how it gets an image, and why it may be missing. */
interface Kind {
  readonly name: string;
  readonly program: string;
  readonly skip: string | false;
  args(image: string): string[];
}

const nbdkitFile = (image: string): string[] => ['file', image];
const KINDS: readonly Kind[] = [
  { name: 'nbdkit', program: 'nbdkit', skip: noNbdkit, args: nbdkitFile },
  {
    name: 'nbdkit without structured replies',
    ...{ program: 'nbdkit', skip: noNbdkit },
    args: (image) => ['--no-sr', ...nbdkitFile(image)],
  },
  {
    name: 'nbdkit without FUA, zeroes and trim',
    ...{ program: 'nbdkit', skip: noNbdkit },
    args: (image) => [...['--filter=nozero', '--filter=fua', 'file', image]],
  },
  {
    name: 'nbdkit with blocks of 4096 to 64K',
    ...{ program: 'nbdkit', skip: noNbdkit },
    args: (image) => [
      ...['--filter=blocksize-policy', 'file', image],
      ...['blocksize-minimum=4096', 'blocksize-preferred=8192', 'blocksize-maximum=65536'],
      'blocksize-error-policy=error',
    ],
  },
  {
    name: 'qemu-nbd',
    ...{ program: 'qemu-nbd', skip: noQemuNbd },
    args: (image) => ['--format=raw', '--shared=8', '--discard=unmap', '--cache=writeback', image],
  },
  {
    name: 'qemu-nbd, one client, stable writes',
    ...{ program: 'qemu-nbd', skip: noQemuNbd },
    args: (image) => ['--format=raw', '--cache=writethrough', image],
  },
];

interface Step {
  readonly kind: 'read' | 'write' | 'zero' | 'fast-zero' | 'discard' | 'flush';
  readonly block: number;
  readonly blocks: number;
  readonly flag: boolean;
  readonly seed: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('read', 'read', 'write', 'write', 'write', 'zero', 'fast-zero', 'flush'),
  block: fc.nat(SIZE / 4096 - 1),
  blocks: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 300 })),
  flag: fc.boolean(),
  seed: fc.nat(1000),
});

/** Do what a step says on a disk and on its model. */
async function apply(each: Step, access: DiskAccess, model: Buffer): Promise<void> {
  const offset = each.block * 4096;
  const length = Math.min(each.blocks * 4096, SIZE - offset);
  if (each.kind === 'read') {
    const expected = Buffer.from(model.subarray(offset, offset + length));
    const found = Buffer.alloc(length, 0xee);
    await access.read(found, offset);
    assertSameBytes(found, expected, `read ${length} at ${offset}`);
  } else if (each.kind === 'write') {
    const data = patternBytes(length, each.seed);
    model.set(data, offset);
    await access.write(data, offset, { stable: each.flag });
  } else if (each.kind === 'flush') {
    await access.flush();
  } else if (each.kind === 'zero') {
    model.fill(0, offset, offset + length);
    await access.writeZeroes(offset, length, { mayUnmap: each.flag });
  } else {
    const zeroed = Promise.resolve(
      (async () => access.writeZeroes(offset, length, { mayUnmap: each.flag, mustBeFast: true }))(),
    );
    // It may say that it is not fast; then nothing has happened.
    const isDone = await zeroed.then(
      () => true,
      (error: { code?: string }) => {
        assert.equal(error.code, 'ENOTSUP');
        return false;
      },
    );
    if (isDone) model.fill(0, offset, offset + length);
  }
}

/** Steps of a round that touch different blocks go at the same time. */
async function applyAll(steps: readonly Step[], access: DiskAccess, model: Buffer): Promise<void> {
  let together: Step[] = [];
  const meets = (one: Step) => (other: Step) =>
    one.block < other.block + other.blocks && other.block < one.block + one.blocks;
  for (const each of steps) {
    if (together.some(meets(each))) {
      await Promise.all(together.map((one) => apply(one, access, model)));
      together = [];
    }
    together.push(each);
  }
  await Promise.all(together.map((one) => apply(one, access, model)));
}

suite('nbd with the servers of others', () => {
  for (const { name, program, skip, args } of KINDS) {
    test(`random requests: ${name}`, { skip }, async (t) => {
      const image = join(imageFolder(t), 'image');
      const model = Buffer.from(patternBytes(SIZE, 3));
      writeFileSync(image, model);
      const peer = await NbdPeer.start(t, program, args(image));
      await using disk = await OpenedDisk.open(nbd(peer.uri));
      assert.equal(disk.disk.info.sizeBytes, SIZE);
      const steps = fc.array(step, { minLength: 1, maxLength: 60, size: 'max' });
      await fc.assert(
        fc.asyncProperty(steps, (each) => applyAll(each, disk.access, model)),
        { ...propertyOptions(15), endOnFailure: true },
      );
      assertSameBytes(await disk.read(0, SIZE), model, 'read in the end');
      await disk.access.flush();
      assertSameBytes(readFileSync(image), model, 'image');
      assert.deepEqual(disk.log, []);
    });
  }

  test('requests larger than a server takes', { skip: noNbdkit }, async (t) => {
    const peer = await NbdPeer.start(t, 'nbdkit', ['memory', '256M']);
    await using disk = await OpenedDisk.open(nbd(peer.uri));
    const data = patternBytes(100 * MIB);
    await disk.access.write(data, 4096);
    assertSameBytes(await disk.read(4096, data.length), data, 'read');
    await disk.access.writeZeroes(0, 256 * MIB);
    assert.ok((await disk.read(0, 256 * MIB)).every((byte) => byte === 0));
  });

  /** With six asked for, so many: a server that is slow to answer has fewer, which is not for long. */
  async function openedWith(connections: number, uri: string): Promise<OpenedDisk> {
    for (let tries = 1; ; tries++) {
      const disk = await OpenedDisk.open(nbd(uri, { connections: 6 }));
      if (disk.disk.description.includes(`${connections} connections`)) return disk;
      await disk[Symbol.asyncDispose]();
      assert.ok(tries < 10, disk.disk.description);
    }
  }

  test('several connections, where a server has them', {
    skip: noQemuNbd || noNbdkit,
  }, async (t) => {
    const image = join(imageFolder(t), 'image');
    writeFileSync(image, Buffer.alloc(MIB));
    const shared = await NbdPeer.start(t, 'qemu-nbd', ['--format=raw', '--shared=8', image]);
    await using _many = await openedWith(6, shared.uri);
    // It does not accept more than its limit, and does not say so either.
    const few = await NbdPeer.start(t, 'qemu-nbd', ['--format=raw', '--shared=2', image]);
    await using two = await openedWith(2, few.uri);
    await two.read(0, MIB);
    const args = ['--filter=multi-conn', 'memory', '1M', 'multi-conn-mode=disable'];
    const single = await NbdPeer.start(t, 'nbdkit', args);
    await using one = await OpenedDisk.open(nbd(single.uri, { connections: 6 }));
    assert.doesNotMatch(one.disk.description, /connections/);
  });

  test('a read-only export', { skip: noQemuNbd }, async (t) => {
    const image = join(imageFolder(t), 'image');
    writeFileSync(image, patternBytes(MIB));
    const peer = await NbdPeer.start(t, 'qemu-nbd', ['--format=raw', '--read-only', image]);
    await using disk = await OpenedDisk.open(nbd(peer.uri));
    const { readOnly, canDiscard, canWriteZeroes } = disk.disk.info;
    assert.deepEqual([readOnly, canDiscard, canWriteZeroes], [true, false, false]);
    assertSameBytes(await disk.read(0, MIB), patternBytes(MIB), 'read');
    await assert.rejects(async () => disk.access.write(Buffer.alloc(512), 0), { code: 'EROFS' });
  });

  test('exports by name, and one that is not there', { skip: noQemuNbd }, async (t) => {
    const image = join(imageFolder(t), 'image');
    writeFileSync(image, Buffer.alloc(MIB, 4));
    const args = ['--format=raw', '--shared=2', '--export-name=a disk/ä', image];
    const peer = await NbdPeer.start(t, 'qemu-nbd', args);
    const at = (name: string): string => `nbd+unix:///${name}?socket=${peer.socketPath}`;
    const connections = 1;
    await using disk = await OpenedDisk.open(nbd(at('a%20disk/%C3%A4'), { connections }));
    assert.equal((await disk.read(0, 512))[0], 4);
    const missing = OpenedDisk.open(nbd(at('other')));
    await assert.rejects(missing, { code: 'DISK_REMOTE', message: /no such export/ });
  });

  test('errors of a server reach the guest by their names', { skip: noNbdkit }, async (t) => {
    const full = await NbdPeer.start(t, 'nbdkit', ['full', '1M']);
    await using disk = await OpenedDisk.open(nbd(full.uri));
    const written = Promise.resolve(disk.access.write(Buffer.alloc(4096, 1), 0));
    await assert.rejects(written, { code: 'ENOSPC' });
    const args = ['--filter=error', 'memory', '1M', 'error=EIO', 'error-pread-rate=100%'];
    const bad = await NbdPeer.start(t, 'nbdkit', args);
    await using other = await OpenedDisk.open(nbd(bad.uri));
    await assert.rejects(other.read(0, 512), { code: 'EIO' });
    await other.access.write(Buffer.alloc(512), 0);
  });

  const noCopy = noNbdkit || nbdRequirements('nbdcopy', 'nbdinfo');
  test('nbdcopy reads what was written, and the other way round', { skip: noCopy }, async (t) => {
    const folder = imageFolder(t);
    const peer = await NbdPeer.start(t, 'nbdkit', ['memory', String(SIZE)]);
    await using disk = await OpenedDisk.open(nbd(peer.uri));
    const size = await run('nbdinfo', '--size', peer.uri);
    assert.equal(Number(size), disk.disk.info.sizeBytes);
    const data = patternBytes(SIZE);
    await disk.access.write(data, 0);
    const copy = join(folder, 'copy');
    await run('nbdcopy', peer.uri, copy);
    assertSameBytes(readFileSync(copy), data, 'what nbdcopy has read');
    writeFileSync(copy, patternBytes(SIZE, 2));
    await run('nbdcopy', copy, peer.uri);
    assertSameBytes(await disk.read(0, SIZE), patternBytes(SIZE, 2), 'what nbdcopy has written');
  });
});

suite('nbd with TLS', () => {
  const noTls = nbdRequirements('openssl');
  const servers = [
    { program: 'nbdkit', skip: noTls || noNbdkit, exported: (image: string) => ['file', image] },
    {
      program: 'qemu-nbd',
      skip: noTls || noQemuNbd,
      exported: (image: string) => ['--format=raw', '--shared=8', image],
    },
  ];
  function tlsArgs(program: string, folder: string, verify: boolean): string[] {
    if (program === 'nbdkit') {
      const verifying = verify ? ['--tls-verify-peer'] : [];
      return ['--tls=require', `--tls-certificates=${folder}`, ...verifying];
    }
    const object = `tls-creds-x509,id=tls,endpoint=server,dir=${folder}`;
    return ['--object', `${object},verify-peer=${verify ? 'on' : 'off'}`, '--tls-creds=tls'];
  }

  async function startTls(t: TestContext, program: string, exported: string[], verify: boolean) {
    const folder = imageFolder(t);
    await makeCertificates(folder);
    const args = [...tlsArgs(program, folder, verify), ...exported];
    const peer = await NbdPeer.start(t, program, args);
    return { folder, peer, uri: peer.uri.replace('nbd+unix', 'nbds+unix') };
  }

  for (const { program, skip, exported } of servers) {
    test(`${program}: random data, with certificates on both sides`, { skip }, async (t) => {
      const image = join(imageFolder(t), 'image');
      writeFileSync(image, Buffer.alloc(SIZE));
      const { folder, uri } = await startTls(t, program, exported(image), true);
      await using disk = await OpenedDisk.open(nbd(`${uri}&tls-certificates=${folder}`));
      assert.match(disk.disk.description, /TLS/);
      const data = patternBytes(SIZE);
      const pieces = Array.from({ length: 128 }, (_, index) => index * 65_536);
      const write = async (at: number) => disk.access.write(data.subarray(at, at + 65_536), at);
      await Promise.all(pieces.map(write));
      assertSameBytes(await disk.read(0, SIZE), data, 'read');
      await disk.access.flush();
      assertSameBytes(readFileSync(image), data, 'image');
    });

    test(`${program}: who is not who he should be is refused`, { skip }, async (t) => {
      const image = join(imageFolder(t), 'image');
      writeFileSync(image, Buffer.alloc(MIB));
      const { folder, peer, uri } = await startTls(t, program, exported(image), true);
      const tlsCa = join(folder, 'ca-cert.pem');
      const refused: [plan: ReturnType<typeof nbd>, message: RegExp][] = [
        [nbd(peer.uri), /TLS/],
        [nbd(uri), /certificate/],
        [nbd(`${uri}&tls-certificates=${folder}`, { tlsHostname: 'elsewhere' }), /elsewhere/],
      ];
      for (const [plan, message] of refused) {
        await assert.rejects(OpenedDisk.open(plan), { code: 'DISK_REMOTE', message });
      }
      // Without a certificate of ours: the server hangs up.
      await assert.rejects(OpenedDisk.open(nbd(uri, { tlsCa })), { code: 'DISK_REMOTE' });
      const tlsCert = join(folder, 'client-cert.pem');
      const tlsKey = join(folder, 'client-key.pem');
      await using disk = await OpenedDisk.open(nbd(uri, { tlsCa, tlsCert, tlsKey }));
      await disk.read(0, 512);
    });
  }

  test('a server without TLS is refused', { skip: noNbdkit }, async (t) => {
    const peer = await NbdPeer.start(t, 'nbdkit', ['memory', '1M']);
    const uri = peer.uri.replace('nbd+unix', 'nbds+unix');
    await assert.rejects(OpenedDisk.open(nbd(uri)), { message: /TLS is refused/ });
  });
});

suite('nbd servers that are killed', () => {
  for (const { name, program, skip, args } of [KINDS[0], KINDS[4]]) {
    test(`${name}: killed and started again under load`, { skip }, async (t) => {
      const image = join(imageFolder(t), 'image');
      const model = Buffer.alloc(SIZE);
      writeFileSync(image, model);
      const peer = await NbdPeer.start(t, program, args(image));
      const disk = await OpenedDisk.open(nbd(peer.uri));
      let isOver = false;
      let count = 0;
      const lane = async (number: number): Promise<void> => {
        for (let round = 0; !isOver; round++) {
          const offset = ((round * 5) % 128) * 65_536 + number * 4096;
          const data = patternBytes(4096, round * 16 + number);
          await disk.access.write(data, offset);
          model.set(data, offset);
          const found = await disk.read(offset, 4096);
          assertSameBytes(found, data, `offset ${offset}`);
          count += 1;
        }
      };
      const lanes = Promise.all(Array.from({ length: 16 }, (_, number) => lane(number)));
      for (let kill = 0; kill < 5; kill++) {
        await new Promise((resolve) => setTimeout(resolve, 300));
        peer.kill();
        await peer.start();
        const isBack = (line: string): boolean => line.includes('the server is back');
        await eventually('it is back', () => disk.log.filter(isBack).length > kill);
      }
      isOver = true;
      await lanes;
      assert.ok(count > 100, `${count} requests`);
      await disk.access.flush();
      assertSameBytes(readFileSync(image), model, 'image');
      const losses = disk.log.filter((line) => /requests wait for it/.test(line));
      assert.ok(losses.length >= 5, disk.log.join('\n'));
      await disk[Symbol.asyncDispose]();
    });
  }

  test('a cache that dies with its server loses nothing', { skip: noQemuNbd }, async (t) => {
    // In qcow2 qemu-nbd has the map of new clusters in memory until a flush.
    const image = join(imageFolder(t), 'image.qcow2');
    await run('qemu-img', 'create', '-q', '-f', 'qcow2', image, String(SIZE));
    const peer = await NbdPeer.start(t, 'qemu-nbd', ['--format=qcow2', '--shared=8', image]);
    const disk = await OpenedDisk.open(nbd(peer.uri));
    const data = patternBytes(SIZE);
    for (let at = 0; at < SIZE; at += 65_536) {
      await disk.access.write(data.subarray(at, at + 65_536), at);
    }
    peer.kill();
    await peer.start();
    await disk.access.flush();
    assertSameBytes(await disk.read(0, SIZE), data, 'read');
    assert.match(disk.log.join('\n'), /128 writes that were not flushed have been repeated/);
    await disk[Symbol.asyncDispose]();
  });
});

suite('nbd as the disk of a virtual machine', () => {
  test('served by the program', { skip: noNbdkit }, async (t) => {
    const image = join(imageFolder(t), 'image');
    writeFileSync(image, Buffer.alloc(SIZE));
    const peer = await NbdPeer.start(t, 'nbdkit', ['file', image]);
    const args = [`--disk=nbd(${peer.uri})`];
    await using served = await ServedDisk.start({ args });
    const driver = await served.connect();
    const data = patternBytes(MIB);
    for (let at = 0; at < MIB; at += 32_768) {
      await driver.write(8 + at / 512, data.subarray(at, at + 32_768));
    }
    for (let at = 0; at < MIB; at += 32_768) {
      const found = await driver.read(8 + at / 512, 64);
      assertSameBytes(found, data.subarray(at, at + 32_768), `read at ${at}`);
    }
    driver.close();
    assertSameBytes(readFileSync(image).subarray(4096, 4096 + MIB), data, 'image');
  });

  test('is not confined by force', { skip: noNbdkit }, async (t) => {
    const peer = await NbdPeer.start(t, 'nbdkit', ['memory', '1M']);
    const disk = await openDisk(nbd(peer.uri));
    assert.match(disk.needsOutside ?? '', /NBD server over the network/);
    openAccess(disk).close();
    await disk.close();
  });
});
