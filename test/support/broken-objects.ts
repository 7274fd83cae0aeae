/** Filters with faults, each of which the conformance suite has to find. */
import { openSync } from 'node:fs';
import type { DiskAccess, DiskObject } from '../../src/storage/index.ts';
import { passingObject } from './memory-object.ts';

/** A fault, by the check that has to find it. */
export interface BrokenFilter {
  readonly fault: string;
  /** The name of the check, or its start. */
  readonly foundBy: string;
  readonly make: (below: DiskAccess) => DiskObject;
}

type Change = (object: DiskObject, below: DiskAccess) => Partial<DiskObject>;

function broken(fault: string, foundBy: string, change: Change): BrokenFilter {
  const make = (below: DiskAccess): DiskObject => {
    const object = passingObject(below);
    return { ...object, ...change(object, below) };
  };
  return { fault, foundBy, make };
}

/** A read that gives what was there before the last write of the same range. */
function staleReads(): Change {
  return (_object, below) => {
    const cached = new Map<number, Uint8Array>();
    return {
      async read(buffer, offset) {
        const known = cached.get(offset);
        if (known?.length === buffer.length) {
          buffer.set(known);
          return;
        }
        await below.read(buffer, offset);
        cached.set(offset, buffer.slice());
      },
    };
  };
}

/** A cache of what has been written, that forgets to write it when it is closed. */
function forgetfulCache(): Change {
  return (object, below) => {
    const held = new Map<number, Uint8Array>();
    const block = below.info.logicalBlockBytes;
    const flush = async (): Promise<void> => {
      for (const [offset, data] of held) await below.write(data, offset);
      held.clear();
      await below.flush();
    };
    return {
      honoursStable: false,
      async read(buffer, offset, request) {
        const parts = [...held];
        await object.read(buffer, offset, request);
        for (const [at, data] of parts) {
          if (at >= offset && at < offset + buffer.length) buffer.set(data, at - offset);
        }
      },
      async write(buffer, offset) {
        if (buffer.length > block) {
          await flush();
          await below.write(buffer, offset);
        } else held.set(offset, buffer.slice());
      },
      flush,
      discard: async (offset, length) => {
        await flush();
        await below.discard(offset, length);
      },
      writeZeroes: async (offset, length) => {
        await flush();
        await below.writeZeroes(offset, length);
      },
      close() {},
    };
  };
}

const RANDOM = 'random requests';
const REACH = 'the n-th request below fails with EIO';

/** See the module's comment. */
export const BROKEN_FILTERS: readonly BrokenFilter[] = [
  broken('a write is lost now and then', RANDOM, ({ write }) => {
    let count = 0;
    return {
      write: (...given) => {
        count += 1;
        return count % 20 === 0 ? undefined : write?.(...given);
      },
    };
  }),
  broken('a read gives what was there before', 'what is read is', staleReads()),
  broken('a read is not finished when it settles', 'what is read is', (_object, below) => ({
    read(buffer, offset) {
      const own = new Uint8Array(buffer.length);
      void below.read(own, offset);
      buffer.set(own);
    },
  })),
  broken('zeroes reach a block too far', 'zeroes are where', (_object, below) => ({
    writeZeroes(offset, length) {
      const end = below.currentSizeBytes();
      const far = Math.min(end - offset, length + below.info.logicalBlockBytes);
      return below.writeZeroes(offset, far);
    },
  })),
  broken('discarding begins a block too early', 'what is discarded', (_object, below) => ({
    discard: (offset, length) => {
      const block = below.info.logicalBlockBytes;
      const start = Math.max(0, offset - block);
      return below.discard(start, length + offset - start);
    },
  })),
  broken('a flush does nothing', 'after a loss of power', () => ({ flush() {} })),
  broken('a stable write is none', 'after a loss of power', (_object, below) => ({
    write: (buffer, offset) => below.write(buffer, offset),
  })),
  {
    fault: 'writes count as safe, and are not',
    foundBy: 'after a loss of power',
    make: (below) => {
      const { flush, ...object } = passingObject(below);
      return { ...object, write: (buffer, offset) => below.write(buffer, offset) };
    },
  },
  broken('it loses what it holds when it is closed', 'what was written is there', forgetfulCache()),
  broken('another error than the one there was', REACH, ({ read }) => ({
    async read(...given) {
      try {
        await read(...given);
      } catch {
        throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      }
    },
  })),
  broken('an error that nobody is told', REACH, ({ write }) => ({
    write: async (...given) => {
      try {
        await write?.(...given);
      } catch {}
    },
  })),
  broken('after an error everything fails', REACH, ({ read }) => {
    let isBroken = false;
    return {
      async read(...given) {
        if (isBroken) throw Object.assign(new Error('broken'), { code: 'EIO' });
        try {
          await read(...given);
        } catch (error) {
          isBroken = true;
          throw error;
        }
      },
    };
  }),
  broken('it does not close what it has opened', 'closed, it leaves nothing', () => {
    openSync('/dev/null', 'r');
    return {};
  }),
  broken('a request is never done', 'what is read is', ({ read }) => {
    let count = 0;
    return {
      read: (...given) => {
        count += 1;
        return count < 50 ? read(...given) : new Promise(() => {});
      },
    };
  }),
];
