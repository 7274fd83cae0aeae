/** Reference counts in a block of them: 1 to 64 bits each, the first in the lowest bits of a byte. */
import { readBig, writeBig } from './big-endian.ts';

/** @param order - a count has 2 ** order bits. */
export function readRefcount(block: Buffer, index: number, order: number): number {
  switch (order) {
    case 3:
      return block[index];
    case 4:
      return block.readUInt16BE(index * 2);
    case 5:
      return block.readUInt32BE(index * 4);
    case 6:
      return readBig(block, index * 8);
    default: {
      const bits = 2 ** order;
      const perByte = 8 / bits;
      const shift = (index % perByte) * bits;
      return (block[Math.floor(index / perByte)] >>> shift) & (2 ** bits - 1);
    }
  }
}

/** @param count - fits the entry. */
export function writeRefcount(block: Buffer, index: number, order: number, count: number): void {
  switch (order) {
    case 3:
      block[index] = count;
      return;
    case 4:
      block.writeUInt16BE(count, index * 2);
      return;
    case 5:
      block.writeUInt32BE(count, index * 4);
      return;
    case 6:
      writeBig(block, index * 8, count);
      return;
    default: {
      const bits = 2 ** order;
      const perByte = 8 / bits;
      const shift = (index % perByte) * bits;
      const at = Math.floor(index / perByte);
      const others = block[at] & ~((2 ** bits - 1) << shift);
      block[at] = others | (count << shift);
    }
  }
}
