/** What this process has open, as the kernel sees it: shows leaks and flags of descriptors. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Every open descriptor as `number -> what`, so that a difference between two lists explains itself. */
export function openDescriptors(): string[] {
  const lines: string[] = [];
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      lines.push(`${name} -> ${readlinkSync(`/proc/self/fd/${name}`)}`);
    } catch {
      // The descriptor with which the folder was read.
    }
  }
  return lines.sort();
}

/** The open file flags of a descriptor, O_CLOEXEC among them (proc(5), fdinfo). */
export function descriptorFlags(fd: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  const match = /^flags:\s+([0-7]+)$/m.exec(text);
  if (match === null) throw new Error(`no flags in fdinfo of ${fd}`);
  return Number.parseInt(match[1], 8);
}
