/** What the end of a process says about why it ended. */

/** How a process ended: with an exit code or by a signal. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const MEANINGS: Partial<Record<NodeJS.Signals, string>> = {
  SIGBUS: 'the front-end has made the file smaller that its memory is in',
  SIGKILL: 'somebody has killed it, or the kernel has because memory ran out',
  SIGSYS: 'it made a system call that only an intruder makes',
  SIGSEGV: 'a fault in it: please report it',
  SIGABRT: 'a fault in it: please report it',
  SIGILL: 'a fault in it: please report it',
};

/** Why a process was lost, for a log line; `undefined` if it ended as it should. */
export function lossOf({ code, signal }: ProcessEnd): string | undefined {
  if (code === 0) return undefined;
  if (signal === null) return `exit code ${code}, for the reason above`;
  const meaning = MEANINGS[signal];
  return meaning === undefined ? signal : `${signal}: ${meaning}`;
}
