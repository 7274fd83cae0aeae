/** What follows the fields of a qcow2 header: extensions, and the name of the backing file. */
import { readBig } from './big-endian.ts';
import { refuse } from './refusal.ts';

const BACKING_FORMAT = 0xe2792aca;
const END = 0;
const MAX_NAME_BYTES = 1023;

/** The backing file as the image names it. */
export interface NamedBacking {
  readonly name: string;
  /** `raw`, `qcow2`, ...; absent: the image does not say. */
  readonly format: string | undefined;
}

/** The backing file that the image names; `undefined`: none. Throws a `StorageError`. */
export function backingOf(
  bytes: Buffer,
  headerBytes: number,
  clusterBytes: number,
  image: string,
): NamedBacking | undefined {
  const format = formatOf(bytes, headerBytes, image);
  const offset = readBig(bytes, 8);
  const length = bytes.readUInt32BE(16);
  if (offset === 0) return undefined;
  const end = Math.min(clusterBytes, bytes.length);
  if (length === 0 || length > MAX_NAME_BYTES || offset < headerBytes || offset + length > end) {
    refuse(
      image,
      `the name of its backing file is not in the first cluster (${offset}, ${length})`,
    );
  }
  const name = bytes.toString('utf8', offset, offset + length);
  if (name.includes('\0')) refuse(image, 'the name of its backing file has a zero byte');
  return { name, format };
}

/** Goes through the extensions up to their end: the one at hand, or that of the header's cluster. */
function formatOf(bytes: Buffer, headerBytes: number, image: string): string | undefined {
  const backingOffset = readBig(bytes, 8);
  const end = backingOffset === 0 ? bytes.length : Math.min(bytes.length, backingOffset);
  let found: string | undefined;
  let at = headerBytes;
  while (at + 8 <= end) {
    const type = bytes.readUInt32BE(at);
    const length = bytes.readUInt32BE(at + 4);
    if (type === END) break;
    if (length > end - at - 8)
      refuse(image, `a header extension at ${at} does not end (${length})`);
    if (type === BACKING_FORMAT) found = bytes.toString('utf8', at + 8, at + 8 + length);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}
