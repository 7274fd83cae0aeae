import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { imageFolder } from '../support/image-folder.ts';
import { type ProgramRun, ServerProgram } from '../support/server-program.ts';
import { noBusybox, startWebServer } from '../support/web-server.ts';
import { makeBootImage, ROOT_PARTITION } from './boot-image.ts';
import {
  assertChecks,
  bootByFirmware,
  bootGuest,
  firmwareRequirements,
  type GuestDisk,
  type GuestReport,
  guestRequirements,
} from './guest.ts';
import { goOnFrom, makeRootImage } from './root-image.ts';

const ROOT_BYTES = 64 * 2 ** 20;

/** Counts its boots, and leaves data for the next one to find. */
const INIT = `
boots=$(($(cat /boots 2>/dev/null || echo 0) + 1))
echo $boots >/boots
echo "fact boots $boots" >&3
echo "fact root $(awk '$2 == "/" { root = $1 } END { print root }' /proc/mounts)" >&3
[ $boots = 1 ] && dd if=/dev/urandom of=/data bs=1M count=8 2>/dev/null
sync
echo 3 >/proc/sys/vm/drop_caches
echo "fact data $(md5sum </data | cut -d' ' -f1)" >&3
`;

function digest(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** What a guest reports, and how the server of its disk ended. */
interface Boot {
  readonly report: GuestReport;
  readonly end: ProgramRun;
}

/**
 * Boot twice from an image on a web server, each time with a server of its own for the disk: the
 * second boot has the first one's data, and the image is as it was.
 */
async function bootTwice(
  t: TestContext,
  image: { readonly folder: string; readonly name: string },
  run: (disk: GuestDisk) => Promise<GuestReport>,
): Promise<[Boot, Boot]> {
  const { folder, name } = image;
  const before = digest(join(folder, name));
  const url = await startWebServer(t, 'busybox', folder);
  const socketPath = join(folder, 'disk.sock');
  const disk = `copy-on-write(http(${url}/${name}), overlay=${join(folder, 'overlay')})`;
  const boot = async (): Promise<Boot> => {
    await using server = await ServerProgram.ready(['-s', socketPath, '--disk', disk]);
    const report = await run({ socketPath });
    t.diagnostic(`up after ${report.bootMs.toFixed()} ms, in all ${report.totalMs.toFixed()} ms`);
    assertChecks(report, ['mount-root']);
    const end = await server.stop();
    assert.equal(end.code, 0, end.stderr);
    return { report, end };
  };
  const first = await boot();
  assert.equal(first.report.facts.get('boots'), '1');
  const second = await boot();
  assert.equal(second.report.facts.get('boots'), '2', 'the overlay has the first boot');
  assert.equal(second.report.facts.get('data'), first.report.facts.get('data'));
  assert.equal(digest(join(folder, name)), before, 'the image is as it was');
  return [first, second];
}

test('a guest runs from an image on a web server, and what it writes is in its overlay', {
  skip: guestRequirements() ?? noBusybox(),
  timeout: 500_000,
}, async (t) => {
  const folder = imageFolder(t);
  makeRootImage(join(folder, 'root.img'), ROOT_BYTES, folder, INIT);
  const boots = await bootTwice(t, { folder, name: 'root.img' }, (disk) =>
    bootGuest({ disks: [disk], script: goOnFrom('/dev/vda') }),
  );
  for (const { report } of boots) assert.equal(report.facts.get('root'), '/dev/vda');
});

test('a machine boots by its own firmware from an ISO image on a web server', {
  skip: firmwareRequirements() ?? noBusybox(),
  timeout: 500_000,
}, async (t) => {
  const folder = imageFolder(t);
  const [workFolder, rootPath] = [join(folder, 'work'), join(folder, 'root.img')];
  mkdirSync(workFolder);
  makeRootImage(rootPath, ROOT_BYTES, folder, INIT);
  // Nothing but the image has it: the kernel that was told it came from there.
  const proof = `proof=${randomUUID()}`;
  const script = `
    fact command-line $(cat /proc/cmdline)
    fact firmware $(cat /sys/firmware/efi/fw_platform_size)
    ${goOnFrom(ROOT_PARTITION)}
  `;
  const task = { script, kernelArguments: [proof] };
  const name = 'system.iso';
  const bootBytes = makeBootImage({ path: join(folder, name), rootPath, task, workFolder });
  const boots = await bootTwice(t, { folder, name }, (disk) =>
    bootByFirmware({ disks: [{ ...disk, properties: { bootindex: 1 } }] }),
  );
  for (const { report, end } of boots) {
    assert.ok(report.facts.get('command-line')?.split(' ').includes(proof), report.console);
    assert.equal(report.facts.get('firmware'), '64');
    assert.equal(report.facts.get('root'), ROOT_PARTITION);
    // The guest itself reads 8 MiB of data and little more.
    const readBytes = Number(/readBytes (\d+)/.exec(end.stderr)?.[1]);
    assert.ok(readBytes >= bootBytes, `${readBytes} of ${bootBytes} bytes: ${end.stderr}`);
  }
});
