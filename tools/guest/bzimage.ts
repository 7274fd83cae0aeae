/**
 * The uncompressed kernel inside a bzImage.
 *
 * An emulated processor needs seconds to decompress a kernel that the host decompresses once. The
 * x86 boot protocol (Documentation/arch/x86/boot.rst) says in the setup header where the compressed
 * kernel lies; its first bytes say how it is compressed.
 */
import { gunzipSync } from 'node:zlib';
import { GuestAssetsError, requireProgram, runProgram } from './programs.ts';

/** `HdrS`, the setup header's magic, at byte 0x202. */
const HEADER_MAGIC = 0x53726448;
/** First version of the boot protocol with payload_offset and payload_length. */
const MIN_PROTOCOL = 0x0208;
const SECTOR_BYTES = 512;
/** The kernel's build appends the uncompressed size to every format that has none at its end. */
const APPENDED_SIZE_BYTES = 4;

const ELF_MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);

interface Compression {
  readonly name: string;
  readonly magic: Buffer;
  readonly decompress: (payload: Buffer) => Buffer;
}

const COMPRESSIONS: readonly Compression[] = [
  {
    name: 'zstd',
    magic: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]),
    decompress: (payload) => runProgram(requireProgram('zstd', 'zstd'), ['-dcq'], sized(payload)),
  },
  {
    name: 'xz',
    magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]),
    decompress: (payload) => runProgram(requireProgram('xz', 'xz-utils'), ['-dcq'], sized(payload)),
  },
  {
    name: 'gzip',
    magic: Buffer.from([0x1f, 0x8b, 0x08]),
    // gzip ends with the size by itself.
    decompress: (payload) => gunzipSync(payload),
  },
];

function sized(payload: Buffer): { input: Buffer } {
  return { input: payload.subarray(0, payload.length - APPENDED_SIZE_BYTES) };
}

/** The compressed kernel as it lies in the file. Throws a `GuestAssetsError` on any other file. */
export function bzImagePayload(image: Buffer): Buffer {
  if (image.length < 0x250 || image.readUInt32LE(0x202) !== HEADER_MAGIC) {
    throw new GuestAssetsError('not a bzImage: no setup header');
  }
  const protocol = image.readUInt16LE(0x206);
  if (protocol < MIN_PROTOCOL) {
    throw new GuestAssetsError(`bzImage of boot protocol 0x${protocol.toString(16)}: too old`);
  }
  // A setup_sects of 0 means 4, from the days of floppy disks.
  const setupSectors = (image[0x1f1] || 4) + 1;
  const start = setupSectors * SECTOR_BYTES + image.readUInt32LE(0x248);
  const length = image.readUInt32LE(0x24c);
  if (start + length > image.length) throw new GuestAssetsError('truncated bzImage');
  return image.subarray(start, start + length);
}

/** The ELF file vmlinux out of a bzImage. Throws a `GuestAssetsError` where that can't be had. */
export function extractVmlinux(image: Buffer): Buffer {
  const payload = bzImagePayload(image);
  const compression = COMPRESSIONS.find(({ magic }) =>
    magic.equals(payload.subarray(0, magic.length)),
  );
  if (compression === undefined) {
    const start = payload.subarray(0, 8).toString('hex');
    throw new GuestAssetsError(`bzImage with an unknown compression (starts with ${start})`);
  }
  const vmlinux = compression.decompress(payload);
  if (!ELF_MAGIC.equals(vmlinux.subarray(0, ELF_MAGIC.length))) {
    throw new GuestAssetsError(`the bzImage's ${compression.name} payload is no ELF file`);
  }
  return vmlinux;
}
