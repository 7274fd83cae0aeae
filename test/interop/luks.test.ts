/**
 * LUKS containers of others with our `encrypt`, and ours with theirs: cryptsetup for headers and key
 * slots of both versions and, by its offline re-encryption in user space, for the data of LUKS2;
 * QEMU for the data of LUKS1.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  type EncryptParameters,
  encrypt,
  file,
  openAccess,
  openDisk,
} from '../../src/storage/index.ts';
import { type FormatLuksOptions, formatLuks } from '../../src/storage/tools.ts';
import { findProgram } from '../../tools/guest/programs.ts';
import { imageFolder } from '../support/image-folder.ts';
import { patternBytes } from '../support/request-bytes.ts';

const MIB = 2 ** 20;
const DATA_BYTES = 4 * MIB;
const PASSPHRASE = 'correct horse';
const SECOND = 'battery staple\n';

const noCryptsetup =
  findProgram('cryptsetup') === undefined
    ? 'cryptsetup is missing; install it: apt-get install cryptsetup-bin'
    : false;
const noQemu =
  findProgram('qemu-img') === undefined
    ? 'qemu-img is missing; install it: apt-get install qemu-utils'
    : false;

/** A folder with two passphrases in files. */
class Workspace {
  readonly folder: string;
  readonly image: string;
  readonly key: string;
  readonly secondKey: string;

  constructor(t: TestContext) {
    this.folder = imageFolder(t);
    this.image = join(this.folder, 'image');
    this.key = join(this.folder, 'key');
    this.secondKey = join(this.folder, 'second-key');
    writeFileSync(this.key, PASSPHRASE);
    writeFileSync(this.secondKey, SECOND);
  }

  /** An image of zeros. */
  makeImage(bytes: number): void {
    writeFileSync(this.image, '');
    truncateSync(this.image, bytes);
  }

  cryptsetup(...args: readonly string[]): string {
    return run('cryptsetup', ['--batch-mode', '--key-file', this.key, ...args]);
  }

  /** What QEMU reads from the LUKS1 container. */
  readByQemu(): Buffer {
    const raw = join(this.folder, 'raw');
    const options = `driver=luks,key-secret=key,file.filename=${this.image}`;
    const secret = ['--object', `secret,id=key,file=${this.key}`];
    run('qemu-img', ['convert', ...secret, '--image-opts', options, '-O', 'raw', raw]);
    return readFileSync(raw);
  }

  /** What the LUKS2 container holds, by having cryptsetup decrypt the file for good. */
  decryptByCryptsetup(): Buffer {
    const header = join(this.folder, 'header');
    rmSync(header, { force: true });
    const how = ['--decrypt', '--force-offline-reencrypt', '--header', header];
    this.cryptsetup('reencrypt', ...how, this.image);
    return readFileSync(this.image);
  }
}

function run(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { stdio: 'pipe', timeout: 60_000 }).toString();
}

/**
 * QEMU finds out how long a key derivation takes by the CPU time it is billed, and gives up where
 * the first, of some ten milliseconds, fell between two ticks of the kernel's clock.
 */
function makeByQemu(args: readonly string[]): void {
  for (let attempt = 1; ; attempt++) {
    try {
      run('qemu-img', args);
      return;
    } catch (error) {
      if (attempt === 200 || !String(error).includes('Unable to get accurate CPU usage')) {
        throw error;
      }
    }
  }
}

async function readAll(path: string, parameters: EncryptParameters): Promise<Buffer> {
  const disk = await openDisk(encrypt(file(path), parameters), { readOnly: true });
  const access = openAccess(disk);
  const found = Buffer.alloc(disk.info.sizeBytes);
  await access.read(found, 0);
  access.close();
  await disk.close();
  return found;
}

async function writeAll(path: string, parameters: EncryptParameters, data: Buffer): Promise<void> {
  const disk = await openDisk(encrypt(file(path), parameters));
  const access = openAccess(disk);
  await access.write(data, 0);
  await access.flush();
  access.close();
  await disk.close();
}

function assertStartsWith(found: Buffer, data: Buffer): void {
  assert.ok(found.length >= data.length);
  assert.ok(found.subarray(0, data.length).equals(data));
}

const OURS: readonly Partial<FormatLuksOptions>[] = [
  { version: 1 },
  { version: 1, keyBits: 256, hash: 'sha1' },
  { version: 1, cipher: 'aes-cbc-essiv:sha256', hash: 'sha512' },
  { version: 2, pbkdf: 'argon2id', iterations: 4, memoryKib: 32768, parallel: 4 },
  { version: 2, pbkdf: 'argon2i', iterations: 4, memoryKib: 16384, parallel: 1, sectorBytes: 4096 },
  { version: 2, sectorBytes: 1024, hash: 'sha512', label: 'a label' },
];

for (const options of OURS) {
  const skip = noCryptsetup || (options.version === 1 && noQemu);
  test(`others read what we make: ${JSON.stringify(options)}`, { skip }, async (t) => {
    const space = new Workspace(t);
    const { image, key } = space;
    space.makeImage(32 * MIB);
    const cheap = { pbkdf: 'pbkdf2', iterations: 1000 } as const;
    await formatLuks(file(image), { passphrase: PASSPHRASE, ...cheap, ...options });
    space.cryptsetup('open', '--test-passphrase', image);
    space.cryptsetup(
      'luksAddKey',
      ...['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'],
      image,
      space.secondKey,
    );
    if (options.label !== undefined) {
      assert.match(space.cryptsetup('luksDump', image), new RegExp(options.label));
    }
    const data = patternBytes(DATA_BYTES, 3);
    await writeAll(image, { passphraseFile: key }, Buffer.from(data));
    assertStartsWith(await readAll(image, { passphraseFile: space.secondKey }), Buffer.from(data));
    const found = options.version === 1 ? space.readByQemu() : space.decryptByCryptsetup();
    assertStartsWith(found, Buffer.from(data));
  });
}

const CHEAP_PBKDF2 = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'];
const ARGON2 = [
  '--pbkdf-memory',
  '32768',
  '--pbkdf-force-iterations',
  '4',
  '--pbkdf-parallel',
  '2',
];

/** Containers of cryptsetup; those of LUKS2 are made of data that is there. */
const THEIRS: readonly (readonly string[])[] = [
  ['--type', 'luks2', ...CHEAP_PBKDF2],
  ['--type', 'luks2', '--pbkdf', 'argon2id', ...ARGON2, '--sector-size', '4096'],
  ['--type', 'luks2', '--pbkdf', 'argon2i', ...ARGON2, '--hash', 'sha512'],
  ['--type', 'luks2', ...CHEAP_PBKDF2, '--cipher', 'aes-cbc-essiv:sha256', '--key-size', '256'],
  ['--type', 'luks2', ...CHEAP_PBKDF2, '--key-size', '256', '--hash', 'ripemd160'],
];

for (const options of THEIRS) {
  test(`we read what cryptsetup makes: ${options.join(' ')}`, { skip: noCryptsetup }, async (t) => {
    const space = new Workspace(t);
    const { image, key } = space;
    const data = patternBytes(DATA_BYTES, 5);
    writeFileSync(image, data);
    truncateSync(image, DATA_BYTES + 32 * MIB);
    const how = ['--encrypt', '--force-offline-reencrypt', '--reduce-device-size', '32M'];
    space.cryptsetup('reencrypt', ...how, ...options, image);
    assertStartsWith(await readAll(image, { passphraseFile: key }), Buffer.from(data));
    const other = Buffer.from(patternBytes(DATA_BYTES, 6));
    await writeAll(image, { passphraseFile: key, keySlot: 0 }, other);
    assertStartsWith(space.decryptByCryptsetup(), other);
  });
}

for (const type of ['luks1', 'luks2']) {
  const what = `a detached header of ${type} is refused, and stays what it was`;
  test(what, { skip: noCryptsetup }, async (t) => {
    const place = new Workspace(t);
    place.makeImage(32 * MIB);
    const header = join(place.folder, 'header');
    writeFileSync(header, '');
    truncateSync(header, 16 * MIB);
    const format = ['luksFormat', '--type', type, '--pbkdf', 'pbkdf2'];
    const iterations = ['--pbkdf-force-iterations', '1000'];
    place.cryptsetup(...format, ...iterations, '--header', header, place.image);
    const before = readFileSync(header);
    const refused = readAll(header, { passphrase: PASSPHRASE });
    await assert.rejects(refused, { code: 'DISK_FORMAT', message: /detached header/ });
    assert.ok(readFileSync(header).equals(before));
  });
}

test('a re-encryption that has not ended is refused', { skip: noCryptsetup }, async (t) => {
  const space = new Workspace(t);
  space.makeImage(32 * MIB);
  space.cryptsetup('luksFormat', '--type', 'luks2', ...CHEAP_PBKDF2, space.image);
  const how = ['--init-only', '--force-offline-reencrypt', ...CHEAP_PBKDF2];
  space.cryptsetup('reencrypt', ...how, space.image);
  await assert.rejects(readAll(space.image, { passphraseFile: space.key }), {
    code: 'DISK_FORMAT',
    message: /reencrypt/,
  });
});

const QEMU_FORMATS = [
  'cipher-alg=aes-256,cipher-mode=xts,ivgen-alg=plain64,hash-alg=sha256',
  'cipher-alg=aes-128,cipher-mode=xts,ivgen-alg=plain64,hash-alg=sha1',
  'cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=sha512',
  'cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=plain64,hash-alg=ripemd160',
  'cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=plain,hash-alg=sha224',
];

for (const options of QEMU_FORMATS) {
  test(`QEMU and we read each other: ${options}`, { skip: noQemu }, async (t) => {
    const space = new Workspace(t);
    const raw = join(space.folder, 'plain');
    const data = Buffer.from(patternBytes(DATA_BYTES, 7));
    writeFileSync(raw, data);
    const secret = ['--object', `secret,id=key,file=${space.key}`];
    const format = `key-secret=key,iter-time=10,${options}`;
    const how = ['convert', ...secret, '-f', 'raw', '-O', 'luks', '-o', format];
    makeByQemu([...how, raw, space.image]);
    const found = await readAll(space.image, { passphraseFile: space.key });
    assert.ok(found.equals(data));
    const other = Buffer.from(patternBytes(DATA_BYTES, 8));
    await writeAll(space.image, { passphraseFile: space.key }, other);
    assert.ok(space.readByQemu().equals(other));
  });
}

test('cryptsetup format of LUKS1 with several key slots', {
  skip: noCryptsetup || noQemu,
}, async (t) => {
  const space = new Workspace(t);
  const { image, key, secondKey } = space;
  space.makeImage(16 * MIB);
  const iterations = ['--pbkdf-force-iterations', '1000'];
  space.cryptsetup('luksFormat', '--type', 'luks1', ...iterations, '--key-slot', '2', image);
  space.cryptsetup('luksAddKey', ...iterations, '--key-slot', '5', image, secondKey);
  const data = Buffer.from(patternBytes(DATA_BYTES, 9));
  await writeAll(image, { passphraseFile: secondKey, keySlot: 5 }, data);
  assertStartsWith(await readAll(image, { passphraseFile: key }), data);
  await assert.rejects(readAll(image, { passphraseFile: key, keySlot: 5 }), {
    code: 'DISK_SECRET',
  });
  // The newline at its end is part of the second passphrase.
  await assert.rejects(readAll(image, { passphrase: SECOND.trimEnd() }), { code: 'DISK_SECRET' });
  assertStartsWith(space.readByQemu(), data);
});
