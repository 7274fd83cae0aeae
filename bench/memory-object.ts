/**
 * The disk of the medium `object`: memory, by methods that return promises, as anybody would write
 * it.
 */
import type { DiskObject, ModuleParameters } from '../src/storage/index.ts';

export default function create({ mib = '64' }: ModuleParameters): DiskObject {
  const content = new Uint8Array(Number(mib) * 2 ** 20).fill(0x76);
  return {
    sizeBytes: content.length,
    async read(buffer, offset) {
      buffer.set(content.subarray(offset, offset + buffer.length));
    },
    async write(buffer, offset) {
      content.set(buffer, offset);
    },
    async flush() {},
  };
}
