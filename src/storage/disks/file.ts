/** The kind `file`: a raw image or a block device. */
import { CACHE_MODES, type CacheMode, openFileDisk } from '../file/open-file-disk.ts';
import { type DiskKind, DiskPlan } from '../plan/disk-kind.ts';
import { flag, oneOf, text } from '../plan/parameter-types.ts';

/** See the kind's parameters. */
export interface FileParameters {
  readonly path: string;
  readonly cache?: CacheMode;
  readonly locking?: boolean;
  readonly readOnly?: boolean;
}

/** See the module's comment. */
export const fileKind: DiskKind<FileParameters> = {
  name: 'file',
  summary: 'a raw image or a block device',
  below: 'none',
  primary: 'path',
  parameters: {
    path: { type: text('path'), summary: 'where it is', isRequired: true },
    cache: { type: oneOf(CACHE_MODES), summary: "use of the host's page cache" },
    locking: { type: flag, summary: 'refuse an image that is in use' },
    readOnly: { type: flag, summary: 'open it to read only' },
  },
  open({ parameters, options }) {
    const { path, cache, locking, readOnly } = parameters;
    return openFileDisk({
      path,
      readOnly: options.readOnly === true || readOnly === true,
      cache: cache ?? options.cache ?? 'writeback',
      locking: locking ?? options.locking ?? true,
      ...(options.blockBytes === undefined ? {} : { blockBytes: options.blockBytes }),
      ...(options.succession === undefined ? {} : { succession: options.succession }),
    });
  },
};

/** A raw image or a block device. */
export function file(path: string, parameters: Omit<FileParameters, 'path'> = {}): DiskPlan {
  return new DiskPlan(fileKind, { ...parameters, path });
}
