/**
 * The in-flight log of a packed ring in memory (vhost-user.rst, `QueueRegionPacked` and
 * `DescStatePacked`). All fields are little-endian.
 *
 *     header, 32 bytes                              entry, 32, one for each descriptor
 *     +-------------------------------------+       +----------------------------------+
 *     | u64 features | u16 version          |       | u8 inflight | u8 | u16 next      |
 *     | u16 desc_num                        |       | u16 last | u16 num | u64 counter |
 *     | u16 free_head | u16 old_free_head   |       | u16 id | u16 flags | u32 len     |
 *     | u16 used_idx | u16 old_used_idx     |       | u64 addr                         |
 *     | u8 used_wrap_counter | u8 old_...   |       +----------------------------------+
 *     +-------------------------------------+
 *
 * Entries that are not in use are a list from `free_head` on, linked by `next`; after the last one
 * comes `desc_num`. A chain takes as many entries from it as it has descriptors, which are copied
 * there, and keeps their links: `inflight`, `last`, `num` and `counter` are those of its first entry.
 */
import { LogBytes, LogHeader } from './inflight-memory.ts';

/** Where things are in the header: 16-bit words, and bytes. */
export const PackedHeader = {
  ...LogHeader,
  FREE_HEAD: 6,
  OLD_FREE_HEAD: 7,
  USED_IDX: 8,
  OLD_USED_IDX: 9,
  USED_WRAP_BYTE: 20,
  OLD_USED_WRAP_BYTE: 21,
} as const;

/** Where they are in an entry: the mark is its first byte; 16-bit words; 32-bit words. */
export const PackedEntry = {
  NEXT: 1,
  LAST: 2,
  NUM: 3,
  ID: 8,
  FLAGS: 9,
  COUNTER: 2,
  ID_AND_FLAGS: 4,
  LENGTH: 5,
  ADDRESS: 6,
} as const;

const { header, entry } = LogBytes.packed;

/** Where entry `index` begins: in bytes, in 16-bit words, in 32-bit words. */
export function entryByte(index: number): number {
  return header + index * entry;
}

export function entryWord16(index: number): number {
  return (header + index * entry) / 2;
}

export function entryWord32(index: number): number {
  return (header + index * entry) / 4;
}
