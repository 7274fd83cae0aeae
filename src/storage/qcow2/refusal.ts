/** What a qcow2 image that cannot be used is refused with. */
import { StorageError } from '../errors.ts';

/** Throws a `StorageError` DISK_FORMAT. @param name - which image. */
export function refuse(name: string, problem: string): never {
  throw new StorageError('DISK_FORMAT', `${name}: ${problem}`);
}
