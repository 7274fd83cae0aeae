/**
 * Writes cpio archives of the `newc` format, the one the kernel unpacks as its first root
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 *
 * Written here and not by the `cpio` program, because this way no root rights are needed for
 * ownership and device nodes. The kernel accepts several archives one behind the other; later ones
 * replace files of earlier ones. `cpioArchive` pads its result, so results can be concatenated.
 */

/** A file, folder, symbolic link or character device of the guest, owned by its root. */
export type CpioEntry =
  | { readonly kind: 'file'; readonly path: string; readonly data: Uint8Array; mode: number }
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'device'; readonly path: string; readonly major: number; minor: number };

const S_IFCHR = 0o020000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/** Headers and file contents start at multiples of this. */
const ALIGN_BYTES = 4;
/** An archive ends at a multiple of this, as the cpio program has it. */
const BLOCK_BYTES = 512;

/**
 * The archive of some entries. Paths are absolute in the guest; the folders above each entry are
 * added, before it, because the kernel does not make them.
 */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  let inode = 1;
  for (const entry of withFolders(entries)) parts.push(...encodeEntry(entry, inode++));
  parts.push(...encode('TRAILER!!!', 0, 0, Buffer.alloc(0)));
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  parts.push(padding(bytes, BLOCK_BYTES));
  return Buffer.concat(parts);
}

function withFolders(entries: readonly CpioEntry[]): CpioEntry[] {
  const all = new Map<string, CpioEntry>();
  for (const entry of entries) {
    const names = entry.path.split('/').filter((name) => name !== '');
    for (let depth = 1; depth < names.length; depth++) {
      const path = `/${names.slice(0, depth).join('/')}`;
      if (!all.has(path)) all.set(path, { kind: 'folder', path });
    }
    all.set(entry.path, entry);
  }
  return [...all.values()];
}

function encodeEntry(entry: CpioEntry, inode: number): Buffer[] {
  const path = entry.path.replace(/^\//, '');
  switch (entry.kind) {
    case 'file':
      return encode(path, inode, S_IFREG | entry.mode, entry.data);
    case 'folder':
      return encode(path, inode, S_IFDIR | 0o755, Buffer.alloc(0));
    case 'link':
      return encode(path, inode, S_IFLNK | 0o777, Buffer.from(entry.target));
    case 'device':
      return encode(path, inode, S_IFCHR | 0o600, Buffer.alloc(0), entry);
  }
}

function encode(
  path: string,
  inode: number,
  mode: number,
  data: Uint8Array,
  device: { readonly major: number; readonly minor: number } = { major: 0, minor: 0 },
): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const fields = [
    inode,
    mode,
    0, // uid
    0, // gid
    1, // nlink
    0, // mtime: the same input makes the same archive
    data.length,
    0, // major and minor of the file system the file came from
    0,
    device.major,
    device.minor,
    name.length,
    0, // check sum, unused in newc
  ];
  const hex = fields.map((field) => field.toString(16).padStart(8, '0')).join('');
  const header = Buffer.concat([Buffer.from(`070701${hex}`), name]);
  return [
    header,
    padding(header.length, ALIGN_BYTES),
    Buffer.from(data.buffer, data.byteOffset, data.byteLength),
    padding(data.length, ALIGN_BYTES),
  ];
}

function padding(length: number, unit: number): Buffer {
  return Buffer.alloc((unit - (length % unit)) % unit);
}
