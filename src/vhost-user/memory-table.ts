/**
 * The memory regions of a session: checks what the front-end sends and maps it.
 */
import { type MemoryRegion, regionOfUser } from '../memory/index.ts';
import type { Fd } from '../sys/index.ts';
import { ProtocolError } from './errors.ts';
import type { RegionDescription } from './messages.ts';
import { mapSharedFile } from './shared-file.ts';

/** Most regions a session may have (as in QEMU, libvhost-user and rust-vmm). */
export const MAX_MEMORY_SLOTS = 509;

/** See the module's comment. */
export class MemoryTable {
  #regions: readonly MemoryRegion[] = [];

  get regions(): readonly MemoryRegion[] {
    return this.#regions;
  }

  /**
   * SET_MEM_TABLE: map a whole new table, of which one descriptor each names the file. It is in
   * force after `commit`. Throws a `ProtocolError`; then nothing is mapped.
   */
  replace(descriptions: readonly RegionDescription[], fds: readonly Fd[]): readonly MemoryRegion[] {
    if (fds.length !== descriptions.length) {
      const counts = `${fds.length} descriptors for ${descriptions.length} regions`;
      throw new ProtocolError('BAD_DESCRIPTORS', counts);
    }
    const mapped: MemoryRegion[] = [];
    try {
      descriptions.forEach((description, index) => {
        checkRegion(description, mapped);
        mapped.push(mapRegion(description, fds[index]));
      });
      return mapped;
    } catch (error) {
      for (const region of mapped) region.mapping.close();
      throw error;
    }
  }

  /** ADD_MEM_REG: the table with one region more. Throws a `ProtocolError`. */
  add(description: RegionDescription, fd: Fd): readonly MemoryRegion[] {
    if (this.#regions.length >= MAX_MEMORY_SLOTS) {
      throw new ProtocolError('BAD_MEMORY', `more than ${MAX_MEMORY_SLOTS} regions`);
    }
    checkRegion(description, this.#regions);
    return [...this.#regions, mapRegion(description, fd)];
  }

  /** REM_MEM_REG: the table without a region, found by both addresses and its size. */
  remove(description: RegionDescription): readonly MemoryRegion[] {
    const remaining = this.#regions.filter(
      (region) =>
        region.guestAddress !== description.guestAddress ||
        region.userAddress !== description.userAddress ||
        region.sizeBytes !== description.sizeBytes,
    );
    if (remaining.length === this.#regions.length) {
      throw new ProtocolError('BAD_MEMORY', 'there is no such region');
    }
    return remaining;
  }

  /** Put a table made above in force, and let go what is not in it any more. */
  commit(regions: readonly MemoryRegion[]): void {
    const old = this.#regions;
    this.#regions = regions;
    for (const region of old) {
      if (!regions.includes(region)) region.mapping.close();
    }
  }

  /** Where memory that lies in one region is mapped, or `undefined` if it does not. */
  hostAddress(userAddress: number, lengthBytes: number): number | undefined {
    const region = regionOfUser(this.#regions, userAddress, lengthBytes);
    return region && region.mapping.address + (userAddress - region.userAddress);
  }
}

function checkRegion(description: RegionDescription, others: readonly MemoryRegion[]): void {
  const { guestAddress, userAddress, sizeBytes, mmapOffset } = description;
  if (sizeBytes === 0) throw new ProtocolError('BAD_MEMORY', 'a region of no size');
  for (const start of [guestAddress, userAddress, mmapOffset]) {
    if (!Number.isSafeInteger(start + sizeBytes)) {
      throw new ProtocolError('BAD_MEMORY', 'a region that ends beyond all addresses');
    }
  }
  for (const other of others) {
    const clash =
      overlaps(guestAddress, other.guestAddress, sizeBytes, other.sizeBytes) ||
      overlaps(userAddress, other.userAddress, sizeBytes, other.sizeBytes);
    if (clash) throw new ProtocolError('BAD_MEMORY', 'regions overlap');
  }
}

function overlaps(start: number, otherStart: number, size: number, otherSize: number): boolean {
  return start < otherStart + otherSize && otherStart < start + size;
}

function mapRegion(description: RegionDescription, fd: Fd): MemoryRegion {
  const { guestAddress, userAddress, sizeBytes, mmapOffset } = description;
  const mapping = mapSharedFile(fd, {
    what: 'region',
    descriptor: 'the descriptor of a region',
    ...{ offsetBytes: mmapOffset, sizeBytes },
    code: 'BAD_MEMORY',
  });
  return { guestAddress, userAddress, sizeBytes, mapping };
}
