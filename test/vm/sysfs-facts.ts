/** What a guest's kernel made of its disks, by way of sysfs. */
import type { GuestReport } from './guest.ts';

/** Shell function `disk_facts DISK`: reports the disk's attributes for `diskFacts`. */
export const DISK_FACTS = `
disk_facts() {
  for attribute in size ro serial cache_type queue/logical_block_size queue/physical_block_size \\
    queue/minimum_io_size queue/optimal_io_size queue/max_segments queue/max_segment_size \\
    queue/discard_max_bytes queue/max_discard_segments queue/write_zeroes_max_bytes \\
    queue/nr_requests queue/write_cache device/features; do
    fact $1.$attribute $(cat /sys/block/$1/$attribute)
  done
  fact $1.queues $(ls /sys/block/$1/mq | wc -l)
}
`;

/** A disk's attributes under their names below /sys/block/DISK, and `queues`. */
export function diskFacts(report: GuestReport, disk: string): Record<string, string> {
  const start = `${disk}.`;
  const own = [...report.facts].filter(([name]) => name.startsWith(start));
  return Object.fromEntries(own.map(([name, value]) => [name.slice(start.length), value]));
}

/** Whether the driver and the device agreed on a feature bit. */
export function hasAgreedOn(facts: Readonly<Record<string, string>>, bit: number): boolean {
  // One character a bit, the lowest first.
  return facts['device/features']?.[bit] === '1';
}
