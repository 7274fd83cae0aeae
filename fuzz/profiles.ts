/** The servers that cases are made for: the program's options, and what may be done with them. */

/** A way to start the server. */
export interface Profile {
  readonly options: readonly string[];
  /**
   * There is an image, and cases can write to it: they keep to sectors of the window, and do not
   * lead the device to bytes that could be a request for others.
   */
  readonly isCareful: boolean;
  /** Largest ring the server accepts. */
  readonly maxQueueSize: number;
  readonly queues: number;
  readonly isReadOnly: boolean;
}

/** What follows from the program's options. */
export function profileOf(options: readonly string[]): Profile {
  const value = (name: string, otherwise: number): number => {
    const option = options.find((each) => each.startsWith(`--${name}=`));
    return option === undefined ? otherwise : Number(option.slice(name.length + 3));
  };
  const isReadOnly = options.includes('--read-only');
  return {
    options,
    isReadOnly,
    isCareful: !isReadOnly && !options.some((option) => option.startsWith('--disk=')),
    maxQueueSize: value('queue-size', 1024),
    queues: value('num-queues', 8),
  };
}

/** Sets of options that differ in what code they have run. */
export const OPTION_SETS: readonly (readonly string[])[] = [
  ['--engine=io_uring', '--read-only'],
  ['--engine=io_uring'],
  ['--engine=epoll', '--read-only', '--threads=2'],
  ['--engine=epoll'],
  ['--engine=io_uring', '--disk=null,size=16M', '--threads=4'],
  ['--engine=io_uring', '--cache=none', '--threads=3', '--num-queues=4'],
  ['--engine=epoll', '--cache=writethrough', '--block-size=4096', '--poll-max-us=0'],
  ['--engine=io_uring', '--read-only', '--num-queues=2', '--queue-size=32', '--poll-max-us=2000'],
];
