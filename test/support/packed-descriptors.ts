/** Writes descriptors of a packed ring byte by byte, right or wrong (virtio 1.3, 2.8.13). */

/** A descriptor as it is in memory; what is left out is 0. */
export interface PackedDescriptor {
  readonly address?: number;
  readonly length?: number;
  readonly id?: number;
  readonly flags?: number;
}

/** Flags of a descriptor. */
export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;
/** Both owner bits, as the driver sets them in laps with wrap counter 1 and 0. */
export const AVAILABLE_1 = 0x80;
export const AVAILABLE_0 = 0x8000;
/** As the device sets them. */
export const USED_1 = 0x8080;
export const USED_0 = 0;

/**
 * Write descriptors one behind the other, from an index on. The first comes last: with its flags the
 * others belong to the device.
 */
export function writePacked(
  view: DataView,
  index: number,
  descriptors: readonly PackedDescriptor[],
): void {
  for (const [number, descriptor] of [...descriptors.entries()].reverse()) {
    const { address = 0, length = 0, id = 0, flags = 0 } = descriptor;
    const at = (index + number) * 16;
    view.setBigUint64(at, BigInt(address), true);
    view.setUint32(at + 8, length, true);
    view.setUint16(at + 12, id, true);
    view.setUint16(at + 14, flags, true);
  }
}

/** What is in a used descriptor. */
export function readUsed(view: DataView, index: number) {
  const at = index * 16;
  return {
    length: view.getUint32(at + 8, true),
    id: view.getUint16(at + 12, true),
    flags: view.getUint16(at + 14, true),
  };
}
