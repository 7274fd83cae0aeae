/** A module as `--disk` takes it: a disk in memory, or one that passes all on to the disk below. */
import type { DiskMaker } from '../../src/storage/index.ts';
import { allMethods, delayed, memoryObject, passingObject } from './memory-object.ts';

const make: DiskMaker = (parameters, below) => {
  if (below !== undefined) return passingObject(below);
  const memory = new Uint8Array(Number(parameters.size ?? 2 ** 20));
  return delayed(memoryObject(memory, allMethods(memory)));
};

export default make;
