/** Formats of images that a disk may be in, as the first bytes of a file tell them. */

/** So many of the first bytes are enough. */
export const FORMAT_BYTES = 512;

/** A format that is not raw. */
export interface ImageFormat {
  /** With an article. */
  readonly name: string;
  /** Whether a file begins like one. @param start - `FORMAT_BYTES` of it. */
  isAt(start: Buffer): boolean;
  /** What has the disk that is inside. @param disk - the image, as people write disks. */
  hint(disk: string): string;
}

function startsWith(start: Buffer, text: string): boolean {
  return start.toString('latin1', 0, text.length) === text;
}

const CONVERT = "convert it with 'qemu-img convert -O raw' first";
/** A text is before it. */
const VDI_SIGNATURE = 0xbeda107f;
const VDI_SIGNATURE_AT = 64;

/** Versions are looked at where there are any: a few bytes alone may be chance. */
export const IMAGE_FORMATS: readonly ImageFormat[] = [
  {
    name: 'a qcow2 image',
    isAt: (start) => startsWith(start, 'QFI\xfb') && [2, 3].includes(start.readUInt32BE(4)),
    hint: (disk) => `for the disk in it use --disk 'qcow2(${disk})'`,
  },
  {
    name: 'a LUKS container',
    isAt: (start) => startsWith(start, 'LUKS\xba\xbe') && [1, 2].includes(start.readUInt16BE(6)),
    hint: (disk) =>
      'right if the guest has the key; else use ' +
      `--disk 'encrypt(${disk}, passphrase-file=...)'`,
  },
  {
    name: 'a VMDK image',
    isAt: (start) => startsWith(start, 'KDMV') && [1, 2, 3].includes(start.readUInt32LE(4)),
    hint: () => CONVERT,
  },
  {
    name: 'a VDI image',
    isAt: (start) => start.readUInt32LE(VDI_SIGNATURE_AT) === VDI_SIGNATURE,
    hint: () => CONVERT,
  },
  { name: 'a VHDX image', isAt: (start) => startsWith(start, 'vhdxfile'), hint: () => CONVERT },
  { name: 'a VHD image', isAt: (start) => startsWith(start, 'conectix'), hint: () => CONVERT },
];
