/** What is made of LUKS headers: good ones, damaged ones, and those of somebody who means harm. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, truncateSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { encrypt, file, openDisk, StorageError } from '../../../../src/storage/index.ts';
import type { Logger } from '../../../../src/sys/index.ts';
import {
  bytesOf,
  type LuksImage,
  luks2Json,
  luksImage,
  PASSPHRASE,
  patchFile,
  replaceLuks2Json,
} from '../../../support/luks-image.ts';
import { propertyOptions } from '../../../support/property-options.ts';

const DATA_BYTES = 2 ** 20;
const SECOND_COPY = 0x4000;

/** Open and close it; what was warned of. */
async function tryOpen(
  path: string,
  passphrase: string | Uint8Array = PASSPHRASE,
  keySlot?: number,
) {
  const warnings: string[] = [];
  const silent = (): void => {};
  const logger: Logger = {
    ...{ error: silent, info: silent, debug: silent },
    warn: (text: string) => void warnings.push(text),
  };
  const plan = encrypt(file(path), { passphrase, ...(keySlot === undefined ? {} : { keySlot }) });
  const disk = await openDisk(plan, { logger });
  const { info, description } = disk;
  await disk.close();
  return { info, description, warnings };
}

/** A copy of a container whose JSON area has been changed. */
function changed(image: LuksImage, change: (area: LuksArea) => void): string {
  const path = `${image.path}.changed`;
  copyFileSync(image.path, path);
  const area = JSON.parse(luks2Json(path)) as LuksArea;
  change(area);
  replaceLuks2Json(path, JSON.stringify(area));
  return path;
}

/** As much of the area as tests change. */
interface LuksArea {
  keyslots: Record<string, Record<string, Record<string, unknown>>>;
  segments: Record<string, Record<string, unknown>>;
  digests: Record<string, Record<string, unknown>>;
  config: Record<string, unknown>;
  tokens: Record<string, unknown>;
}

for (const version of [1, 2] as const) {
  test(`LUKS${version}: a container that was made is opened`, async (t) => {
    const image = await luksImage(t, DATA_BYTES, { version });
    const { info, description } = await tryOpen(image.path);
    assert.equal(info.sizeBytes, DATA_BYTES);
    assert.match(
      description,
      new RegExp(`^LUKS${version}, aes-xts-plain64 with a key of 512 bits`),
    );
    assert.doesNotMatch(description, new RegExp(PASSPHRASE));
  });

  test(`LUKS${version}: a wrong passphrase is refused, and changes nothing`, async (t) => {
    const image = await luksImage(t, DATA_BYTES, { version });
    const before = readFileSync(image.path);
    await assert.rejects(tryOpen(image.path, 'wrong'), { code: 'DISK_SECRET' });
    await assert.rejects(tryOpen(image.path, PASSPHRASE, 3), { message: /slot 3 is free/ });
    assert.ok(readFileSync(image.path).equals(before));
    await tryOpen(image.path, Buffer.from(PASSPHRASE), 0);
  });

  test(`LUKS${version}: a container that ends before its data is refused`, async (t) => {
    const { path, dataOffset } = await luksImage(t, DATA_BYTES, { version });
    truncateSync(path, dataOffset);
    await assert.rejects(tryOpen(path), { code: 'DISK_FORMAT' });
    truncateSync(path, 8192);
    await assert.rejects(tryOpen(path), { code: 'DISK_FORMAT' });
  });
}

test('a container without room for one sector is refused', async (t) => {
  const { path, dataOffset } = await luksImage(t, DATA_BYTES, { sectorBytes: 4096 });
  truncateSync(path, dataOffset + 3584);
  await assert.rejects(tryOpen(path), { code: 'DISK_EMPTY' });
});

test('of two damaged copies of a header, the other one counts, and it is said', async (t) => {
  const image = await luksImage(t, DATA_BYTES);
  const { warnings } = await tryOpen(image.path);
  assert.deepEqual(warnings, []);
  for (const [offset, which] of [
    [0, 'first'],
    [0x1100, 'first'],
    [0x3fff, 'first'],
    [SECOND_COPY, 'second'],
    [SECOND_COPY + 0x1200, 'second'],
  ] as const) {
    const path = `${image.path}.damaged`;
    copyFileSync(image.path, path);
    const [byte] = bytesOf(path, offset, 1);
    patchFile(path, offset, Uint8Array.of(byte ^ 1));
    const opened = await tryOpen(path);
    assert.match(opened.warnings.join(), new RegExp(`the ${which} copy of the header is damaged`));
  }
});

test('both copies of a header damaged: refused', async (t) => {
  const { path } = await luksImage(t, DATA_BYTES);
  for (const offset of [0x1100, SECOND_COPY + 0x1100]) patchFile(path, offset, Buffer.alloc(8));
  await assert.rejects(tryOpen(path), { code: 'DISK_FORMAT', message: /both copies/ });
});

test('of two good copies, the newer one counts', async (t) => {
  for (const newer of [0, 1] as const) {
    const { path } = await luksImage(t, DATA_BYTES);
    const area = JSON.parse(luks2Json(path)) as LuksArea;
    area.segments[0].size = '65536';
    replaceLuks2Json(path, JSON.stringify(area), newer, 1);
    const { info, warnings } = await tryOpen(path);
    assert.equal(info.sizeBytes, 65536);
    assert.equal(warnings.length, 1);
  }
});

test('what is not supported is refused by its name', async (t) => {
  const image = await luksImage(t, DATA_BYTES);
  const refuses = async (change: (area: LuksArea) => void, message: RegExp): Promise<void> => {
    const error = { code: 'DISK_FORMAT', message };
    await assert.rejects(tryOpen(changed(image, change)), error, String(message));
  };
  await refuses((area) => {
    area.config.requirements = { mandatory: ['online-reencrypt-v2'] };
  }, /online-reencrypt-v2 \(it is being encrypted anew/);
  await refuses((area) => {
    area.config.requirements = { mandatory: ['opal'] };
  }, /opal$/);
  await refuses((area) => {
    area.segments[1] = { ...area.segments[0] };
  }, /2 segments/);
  await refuses((area) => {
    area.segments[0].type = 'linear';
  }, /"linear"/);
  await refuses((area) => {
    area.segments[0].integrity = { type: 'hmac(sha256)' };
  }, /integrity/);
  await refuses((area) => {
    area.segments[0].encryption = 'serpent-xts-plain64';
  }, /serpent-xts-plain64/);
  await refuses((area) => {
    area.segments[0].sector_size = 8192;
  }, /8192/);
});

test('what a hostile header asks for is refused before it is done', async (t) => {
  const image = await luksImage(t, DATA_BYTES);
  const refuses = async (change: (area: LuksArea) => void, message: RegExp): Promise<void> => {
    const startMs = performance.now();
    const error = { code: 'DISK_FORMAT', message };
    await assert.rejects(tryOpen(changed(image, change)), error, String(message));
    assert.ok(performance.now() - startMs < 10_000);
  };
  const argon2 = {
    type: 'argon2id',
    time: 4,
    memory: 65536,
    cpus: 4,
    salt: 'AAAAAAAAAAAAAAAAAAAAAA==',
  };
  const kdf = (fields: Record<string, unknown>) => (area: LuksArea) => {
    area.keyslots[0].kdf = { ...argon2, ...fields };
  };
  await refuses(kdf({ memory: 2 ** 40 }), /KiB of memory/);
  await refuses(kdf({ time: 2 ** 31 }), /passes over 65536 KiB/);
  await refuses(kdf({ cpus: 1000 }), /1000 threads/);
  await refuses(kdf({ salt: 'AAAA' }), /salt of 3 bytes/);
  await refuses((area) => {
    area.keyslots[0].kdf.iterations = 2 ** 40;
  }, /iterations of PBKDF2/);
  await refuses((area) => {
    area.digests[0].iterations = 4e8;
    area.digests[0].digest = Buffer.alloc(512).toString('base64');
  }, /key-slot/);
  await refuses((area) => {
    area.keyslots[0].af.stripes = 2 ** 31;
  }, /stripes/);
  await refuses((area) => {
    area.keyslots[0].area.offset = '0';
  }, /not between the headers and the data/);
  await refuses((area) => {
    area.keyslots[0].area.offset = '9007199254740991';
  }, /its key slots end at/);
  await refuses((area) => {
    area.segments[0].offset = '9007199254740992000';
  }, /"offset"/);
});

test('LUKS2: data where the headers and the key slots are is refused', async (t) => {
  const image = await luksImage(t, DATA_BYTES);
  const refuses = async (change: (area: LuksArea) => void, message: RegExp): Promise<void> => {
    const error = { code: 'DISK_FORMAT', message };
    await assert.rejects(tryOpen(changed(image, change)), error, String(message));
  };
  for (const size of ['dynamic', '65536']) {
    await refuses((area) => {
      area.segments[0].offset = '0';
      area.segments[0].size = size;
    }, /on another disk \(detached header\), which is not supported/);
    for (const offset of [512, 2 * SECOND_COPY, image.dataOffset - 512]) {
      await refuses((area) => {
        area.segments[0].offset = String(offset);
        area.segments[0].size = size;
      }, /data begins at byte \d+, its key slots end at 16777216/);
    }
  }
  // The area for key slots is smaller, but one of them is not, which no digest has.
  await refuses((area) => {
    area.config.keyslots_size = '262144';
    area.segments[0].offset = '1048576';
    area.keyslots[7] = structuredClone(area.keyslots[0]);
    area.keyslots[7].area.offset = '1044480';
  }, /its key slots end at \d+/);
  await tryOpen(
    changed(image, (area) => {
      area.config.keyslots_size = '262144';
      area.segments[0].offset = '1048576';
    }),
  );
});

test('LUKS1: data where the header and the key slots are is refused', async (t) => {
  const { path } = await luksImage(t, DATA_BYTES, { version: 1 });
  const header = bytesOf(path, 0, 592);
  const refuses = async (at: number, value: number, message: RegExp): Promise<void> => {
    const changedHeader = Buffer.from(header);
    changedHeader.writeUInt32BE(value, at);
    patchFile(path, 0, changedHeader);
    await assert.rejects(tryOpen(path), { code: 'DISK_FORMAT', message });
  };
  await refuses(104, 0, /on another disk \(detached header\), which is not supported/);
  await refuses(104, 1, /within the header/);
  await refuses(104, 8, /key slot 0 is not between/);
  // Between the last slot's first byte and its last: it is free.
  const lastSlot = 208 + 7 * 48;
  await refuses(104, header.readUInt32BE(lastSlot + 40) + 8, /key slot 7 is not between/);
  await refuses(lastSlot + 40, 0, /key slot 7 is not between/);
});

test('a key slot that is only for those who ask is not tried by others', async (t) => {
  const image = await luksImage(t, DATA_BYTES);
  const path = changed(image, ({ keyslots }) => {
    (keyslots[0] as Record<string, unknown>).priority = 0;
  });
  await assert.rejects(tryOpen(path), { code: 'DISK_SECRET' });
  await tryOpen(path, PASSPHRASE, 0);
});

test('a container without key slots is opened by nobody', async (t) => {
  const image = await luksImage(t, DATA_BYTES);
  const path = changed(image, (area) => {
    area.keyslots = {};
  });
  await assert.rejects(tryOpen(path), { code: 'DISK_SECRET', message: /no key slot is in use/ });
});

test('a disk without a header, and with that of a later version, is refused', async (t) => {
  const { path } = await luksImage(t, DATA_BYTES, { version: 1 });
  patchFile(path, 6, Uint8Array.of(0, 9));
  await assert.rejects(tryOpen(path), { code: 'DISK_FORMAT', message: /version 9/ });
  patchFile(path, 0, Buffer.alloc(16));
  await assert.rejects(tryOpen(path), { code: 'DISK_FORMAT', message: /no LUKS header/ });
});

/** Only a `StorageError` may come of it, or nothing. */
async function holdsOut(path: string): Promise<void> {
  try {
    await tryOpen(path);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    assert.doesNotMatch(error.message, /\n/);
  }
}

function hostileBytes(t: TestContext, version: 1 | 2): Promise<void> {
  const bytes = version === 1 ? 592 : 0x3000;
  const flips = fc.array(fc.tuple(fc.nat(bytes - 1), fc.integer({ min: 1, max: 255 })), {
    minLength: 1,
    maxLength: 4,
  });
  const limitBytes = 4 * 2 ** 20;
  return luksImage(t, version === 1 ? DATA_BYTES : limitBytes, { version }).then(async (image) => {
    const original = bytesOf(image.path, 0, bytes);
    await fc.assert(
      fc.asyncProperty(flips, async (changes) => {
        const header = Buffer.from(original);
        for (const [at, bits] of changes) header[at] ^= bits;
        patchFile(image.path, 0, header);
        // Iterations of the other key slots stay what they are: a billion would be refused, and a
        // million takes a second.
        if (version === 1) patchFile(image.path, 164, Buffer.from([0, 0, 3, 0xe8]));
        if (version === 1) patchFile(image.path, 212, Buffer.from([0, 0, 3, 0xe8]));
        await holdsOut(image.path);
      }),
      propertyOptions(40),
    );
  });
}

for (const version of [1, 2] as const) {
  test(`LUKS${version}: random bytes in the header do no harm`, (t) => hostileBytes(t, version));
}

test('LUKS2: random values in the JSON area do no harm', async (t) => {
  const image = await luksImage(t, DATA_BYTES);
  const original = JSON.parse(luks2Json(image.path)) as Record<string, unknown>;
  const paths = pathsOf(original);
  const values = fc.oneof(
    fc.constantFrom<unknown>(null, '', '0', '-1', '1e9', 'dynamic', [], {}, -1, 0.5, 2 ** 53, true),
    fc.nat(5000),
    fc.string({ maxLength: 8 }),
    fc.jsonValue({ maxDepth: 2 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...paths), values, async (path, value) => {
      const area = structuredClone(original);
      let place = area as Record<string, unknown>;
      for (const step of path.slice(0, -1)) place = place[step] as Record<string, unknown>;
      place[path[path.length - 1]] = value;
      replaceLuks2Json(image.path, JSON.stringify(area));
      await holdsOut(image.path);
    }),
    propertyOptions(150),
  );
});

/** Paths of all values of an object. */
function pathsOf(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) => [
    [name],
    ...pathsOf(each).map((path) => [name, ...path]),
  ]);
}
