/**
 * An open disk that a plan is made over: it is lent to the plan's disk, which closes what is below it.
 * Who has opened a disk closes it.
 */
import type { Disk } from '../disk.ts';

function stayOpen(): void {}

/** The same disk, but one that stays open when it is closed. What it cannot do stays absent. */
export function lentDisk(disk: Disk): Disk {
  return new Proxy(disk, {
    get(target, name) {
      if (name === 'close') return stayOpen;
      // Of the disk itself: it has private members.
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
