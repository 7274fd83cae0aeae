/** Disk objects as their authors write them: in memory, and over another disk. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiskAccess, DiskObject, ObjectRequest } from '../../src/storage/index.ts';
import { seededRandom } from './power-loss.ts';

const MAX_DELAY_MS = 2;
const GARBAGE = 0xdb;

/** Content that objects share: what is left when one is opened again. */
export type ObjectMemory = Uint8Array;

/** An object that does everything at once. */
export function memoryObject(memory: ObjectMemory, rest: Partial<DiskObject> = {}): DiskObject {
  return {
    sizeBytes: memory.length,
    read(buffer, offset) {
      buffer.set(memory.subarray(offset, offset + buffer.length));
    },
    write(buffer, offset) {
      memory.set(buffer, offset);
    },
    ...rest,
  };
}

/** What else an object may be able to do. */
export function allMethods(memory: ObjectMemory): Partial<DiskObject> {
  return {
    flush() {},
    discard(offset, length) {
      memory.fill(0, offset, offset + length);
    },
    writeZeroes(offset, length) {
      memory.fill(0, offset, offset + length);
    },
  };
}

/** Methods for memory in several pieces. */
export function vectorMethods(memory: ObjectMemory): Partial<DiskObject> {
  return {
    readv(buffers, offset) {
      let at = offset;
      for (const buffer of buffers) {
        buffer.set(memory.subarray(at, at + buffer.length));
        at += buffer.length;
      }
    },
    writev(buffers, offset) {
      let at = offset;
      for (const buffer of buffers) {
        memory.set(buffer, at);
        at += buffer.length;
      }
    },
  };
}

type Method = (...given: never[]) => void | Promise<void>;
const DELAYED = ['read', 'write', 'readv', 'writev', 'flush', 'discard', 'writeZeroes'] as const;

/** The same object, whose methods take a while: some none, some a turn of the event loop, or more. */
export function delayed(object: DiskObject, seed = 1): DiskObject {
  const random = seededRandom(seed);
  const slow: Record<string, Method> = {};
  for (const name of DELAYED) {
    const method = object[name] as Method | undefined;
    if (method === undefined) continue;
    slow[name] = async (...given) => {
      if (name === 'read') (given as unknown[] as Uint8Array[])[0].fill(GARBAGE);
      if (random() < 0.7) await sleep(random() * MAX_DELAY_MS);
      await method.apply(object, given);
      if (random() < 0.3) await sleep(random() * MAX_DELAY_MS);
    };
  }
  return { ...object, ...slow };
}

/** An object that hands everything on to the disk below. */
export function passingObject(below: DiskAccess): DiskObject {
  const { info } = below;
  const passed = ({ stable, mayUnmap, mustBeFast }: ObjectRequest) => ({
    stable,
    mayUnmap,
    mustBeFast,
  });
  return {
    sizeBytes: below.currentSizeBytes(),
    logicalBlockBytes: info.logicalBlockBytes,
    physicalBlockBytes: info.physicalBlockBytes,
    honoursStable: true,
    read: (buffer, offset) => below.read(buffer, offset),
    write: (buffer, offset, request) => below.write(buffer, offset, passed(request)),
    flush: () => below.flush(),
    discard: (offset, length) => below.discard(offset, length),
    writeZeroes: (offset, length, request) => below.writeZeroes(offset, length, passed(request)),
  };
}
