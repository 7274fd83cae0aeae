/** Writes descriptors byte by byte, right or wrong. */
import { DESCRIPTOR_BYTES } from '../../src/virtqueue/index.ts';

/** A descriptor as it is in memory; what is left out is 0. */
export interface RawDescriptor {
  readonly address?: number;
  readonly length?: number;
  readonly flags?: number;
  readonly next?: number;
}

/** Write a descriptor at an index of a table that begins at `start` of a view. */
export function putDescriptor(
  view: DataView,
  start: number,
  index: number,
  descriptor: RawDescriptor,
): void {
  const at = start + index * DESCRIPTOR_BYTES;
  view.setBigUint64(at, BigInt(descriptor.address ?? 0), true);
  view.setUint32(at + 8, descriptor.length ?? 0, true);
  view.setUint16(at + 12, descriptor.flags ?? 0, true);
  view.setUint16(at + 14, descriptor.next ?? 0, true);
}

/** A table of these descriptors, exactly as long as they are. */
export function descriptorTable(descriptors: readonly RawDescriptor[]): DataView {
  const view = new DataView(new ArrayBuffer(descriptors.length * DESCRIPTOR_BYTES));
  for (const [index, descriptor] of descriptors.entries())
    putDescriptor(view, 0, index, descriptor);
  return view;
}
