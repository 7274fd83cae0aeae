/** The conformance suite over encrypted disks. */
import {
  type DiskLike,
  type DiskPlan,
  encrypt,
  openAccess,
  openDisk,
} from '../../../../src/storage/index.ts';
import { type FormatLuksOptions, formatLuks } from '../../../../src/storage/tools.ts';
import { describeFilterConformance } from '../../../support/disk-conformance.ts';
import { PASSPHRASE } from '../../../support/luks-image.ts';

const CHEAP = { passphrase: PASSPHRASE, pbkdf: 'pbkdf2', iterations: 1000 } as const;
const DATA_BYTES = 2 ** 20;
const HEADER_BYTES = { 1: 2 * 2 ** 20, 2: 16 * 2 ** 20 } as const;

async function isContainer(disk: DiskLike): Promise<boolean> {
  const opened = await openDisk(disk);
  const access = openAccess(opened);
  const start = Buffer.alloc(opened.info.logicalBlockBytes);
  await access.read(start, 0);
  access.close();
  if (opened !== disk) await opened.close();
  return start.toString('latin1', 0, 4) === 'LUKS';
}

/** The same container again, if the disk below has one. */
async function encrypted(lower: DiskLike, options: Partial<FormatLuksOptions>): Promise<DiskPlan> {
  if (!(await isContainer(lower))) await formatLuks(lower, { ...CHEAP, ...options });
  return encrypt(lower, { passphrase: PASSPHRASE, allowDiscards: true });
}

for (const options of [{ version: 1 }, { version: 2, sectorBytes: 4096 }] as const) {
  const { version } = options;
  const blockBytes = version === 1 ? 512 : options.sectorBytes;
  describeFilterConformance(
    `encrypt, LUKS${version}, sectors of ${blockBytes}`,
    (lower) => encrypted(lower, options),
    {
      isPersistent: true,
      discard: 'anything',
      lowerBytes: HEADER_BYTES[version] + DATA_BYTES,
      info: { sizeBytes: DATA_BYTES, logicalBlockBytes: blockBytes },
    },
  );
}
