/** What the kernel says of a process (proc(5)): what shows leaks and busy loops. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Threads that end while they are looked at are not there any more. */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** The processes that it has started and that have not been waited for. */
export function childrenOf(pid: number): number[] {
  return threadsOf(pid).flatMap((thread) =>
    readIfThere(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  );
}

/** What its descriptors are, sorted: `socket:[]` without the numbers that differ each time. */
export function openDescriptors(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  let numbers: string[] = [];
  try {
    numbers = readdirSync(folder);
  } catch {
    // It has ended.
  }
  const kinds = numbers.map((number) => {
    try {
      return readlinkSync(`${folder}/${number}`).replace(/\[\d+\]/, '[]');
    } catch {
      return 'closed';
    }
  });
  return kinds.filter((kind) => kind !== 'closed').sort();
}

/** How many threads it has, without those that the kernel starts for io_uring, and ends, itself. */
export function threadCount(pid: number): number {
  const names = threadsOf(pid).map((thread) => readIfThere(`/proc/${pid}/task/${thread}/comm`));
  return names.filter((name) => name !== '' && !name.startsWith('iou-')).length;
}

/**
 * How long its threads have worked so far, or have waited for a processor to do so, all together, in
 * milliseconds: on a busy machine, who never sleeps may still get little.
 */
export function awakeMs(pid: number): number {
  const times = threadsOf(pid).map((thread) => {
    const text = readIfThere(`/proc/${pid}/task/${thread}/schedstat`);
    const [workedNs = 0, waitedNs = 0] = text.split(' ').map(Number);
    return (workedNs + waitedNs) / 1e6;
  });
  return times.reduce((sum, ms) => sum + ms, 0);
}

/** A field of the status of each of its threads (/proc/PID/task/TID/status), by thread. */
export function threadStatuses(pid: number, field: string): Map<number, string> {
  const line = new RegExp(`^${field}:\\s*(.*)$`, 'm');
  const found = new Map<number, string>();
  for (const thread of threadsOf(pid)) {
    const value = line.exec(readIfThere(`/proc/${pid}/task/${thread}/status`))?.[1];
    if (value !== undefined) found.set(Number(thread), value);
  }
  return found;
}

/** How often each of its threads has gone to sleep by itself, which is how often it woke up. */
export function sleepCounts(pid: number): Map<number, number> {
  const counts = threadStatuses(pid, 'voluntary_ctxt_switches');
  return new Map([...counts].map(([thread, count]) => [thread, Number(count)]));
}

/** How often its threads have gone to sleep by themselves, all together. */
export function wakeUps(pid: number): number {
  return [...sleepCounts(pid).values()].reduce((sum, count) => sum + count, 0);
}

/** How many ranges of memory it has mapped. */
export function mappedRanges(pid: number): number {
  return readIfThere(`/proc/${pid}/maps`).split('\n').length - 1;
}

/** Memory it occupies, in MiB. */
export function residentMib(pid: number): number {
  const [, kib = '0'] = /^VmRSS:\s+(\d+) kB$/m.exec(readIfThere(`/proc/${pid}/status`)) ?? [];
  return Number(kib) / 1024;
}

/**
 * What each of its threads is at, for a process that does not answer: name, state, where in the
 * kernel it sleeps, system call.
 */
export function threadStates(pid: number): string[] {
  return threadsOf(pid).map((thread) => {
    const read = (name: string): string =>
      readIfThere(`/proc/${pid}/task/${thread}/${name}`).trim();
    const [, state = '?'] = /\) (\w)/.exec(read('stat')) ?? [];
    return `${read('comm')} ${state} ${read('wchan')} ${read('syscall').split(' ')[0]}`;
  });
}
