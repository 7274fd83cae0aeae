/** The kind `qcow2`: an image of QEMU's format, in any disk. */
import { StorageError } from '../errors.ts';
import { type DiskKind, type DiskLike, DiskPlan } from '../plan/disk-kind.ts';
import { bytes, flag, oneOf } from '../plan/parameter-types.ts';
import { BACKING_FORMATS, type BackingFormat } from './backing-file.ts';
import { TABLE_MODES, type TableMode } from './table-mode.ts';

/** See the kind's parameters. */
export interface Qcow2Parameters {
  readonly backing?: boolean;
  readonly backingFormat?: BackingFormat;
  readonly tableCache?: number;
  readonly tables?: TableMode;
}

const MIN_CACHE_BYTES = 2 ** 16;
const MAX_CACHE_BYTES = 2 ** 30;

/** See the module's comment. A second disk stands for the backing file that the image names. */
export const qcow2Kind: DiskKind<Qcow2Parameters> = {
  name: 'qcow2',
  summary: "an image of QEMU's format qcow2, to read and write",
  below: 'some',
  parameters: {
    backing: { type: flag, summary: 'use the backing file that the image names' },
    backingFormat: {
      type: oneOf(BACKING_FORMATS),
      summary: 'format of a backing file of which the image does not say it',
    },
    tableCache: {
      type: bytes(MIN_CACHE_BYTES, MAX_CACHE_BYTES),
      summary: 'memory for tables that say where clusters are',
    },
    tables: {
      type: oneOf(TABLE_MODES),
      summary: 'whether a write waits until the tables that lead to it are written',
    },
  },
  async open({ parameters, options, belowCount, openBelow }) {
    if (belowCount > 2)
      fail(`${belowCount} disks below it: expected the image, and its backing disk`);
    if (options.locking === 'later' || options.locking === 'while-running') {
      fail('its tables are in memory: an image is used by one process from when it is opened');
    }
    const { openQcow2 } = await import('./open-qcow2.ts');
    const { backing, backingFormat, tableCache, tables } = parameters;
    const lower = await openBelow(0);
    return openQcow2(lower, {
      open: options,
      usesBacking: backing ?? true,
      backingFormat,
      backing: belowCount === 2 ? await openBelow(1, { readOnly: true }) : undefined,
      ...(tableCache === undefined ? {} : { cacheBytes: tableCache }),
      ...(tables === undefined ? {} : { tables }),
    });
  },
};

function fail(problem: string): never {
  throw new StorageError('DISK_OPTION', `qcow2: ${problem}`);
}

/**
 * The disk in a qcow2 image.
 *
 * @param backing - in place of the backing file that the image names.
 */
export function qcow2(
  image: DiskLike,
  parameters: Qcow2Parameters = {},
  backing?: DiskLike,
): DiskPlan {
  return new DiskPlan(qcow2Kind, parameters, backing === undefined ? [image] : [image, backing]);
}
