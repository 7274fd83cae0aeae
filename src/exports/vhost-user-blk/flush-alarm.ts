/**
 * Who is to hear that the flushes of a disk have failed for good: servers come and go on one disk, and
 * a promise forgets nobody who waits for it.
 */
import type { Disk } from '../../storage/index.ts';

type Listener = (text: string) => void;

class FlushAlarm {
  readonly listeners = new Set<Listener>();
  #text: string | undefined;

  constructor(failed: Promise<string>) {
    void failed.then((text) => {
      this.#text = text;
      for (const listener of this.listeners) listener(text);
    });
  }

  add(listener: Listener): void {
    this.listeners.add(listener);
    if (this.#text !== undefined) listener(this.#text);
  }
}

const alarms = new WeakMap<Disk, FlushAlarm>();

/** Have `listener` called when they have failed, also if that was before. @returns how to end it. */
export function onFlushesFailed(disk: Disk, listener: Listener): () => void {
  let alarm = alarms.get(disk);
  if (alarm === undefined) {
    const { flushesFailed } = disk;
    if (flushesFailed === undefined) return () => {};
    alarm = new FlushAlarm(flushesFailed);
    alarms.set(disk, alarm);
  }
  const { listeners } = alarm;
  alarm.add(listener);
  return () => void listeners.delete(listener);
}
