/** Many requests as one iteration: kept under way together, yielded as they are done. */
import type { Device } from './device.ts';
import type { BlkioError } from './errors.ts';

/** A request of a run. */
export type RunRequest<UserData> = { readonly userData: UserData } & (
  | { readonly type: 'read' | 'write'; readonly offset: number; readonly buffer: Uint8Array }
  | {
      readonly type: 'discard' | 'write-zeroes';
      readonly offset: number;
      readonly lengthBytes: number;
    }
  | { readonly type: 'flush' }
);

/** How a request of a run ended. */
export interface RunCompletion<UserData> {
  readonly userData: UserData;
  /** Absent: it succeeded. */
  readonly error?: BlkioError;
}

const DEFAULT_DEPTH = 32;

function perform<UserData>(device: Device, request: RunRequest<UserData>): Promise<void> {
  switch (request.type) {
    case 'read':
      return device.read(request.offset, request.buffer);
    case 'write':
      return device.write(request.offset, request.buffer);
    case 'discard':
      return device.discard(request.offset, request.lengthBytes);
    case 'write-zeroes':
      return device.writeZeroes(request.offset, request.lengthBytes);
    case 'flush':
      return device.flush();
  }
}

/**
 * Do requests, `depth` at a time, and yield their completions in the order in which they are done.
 * The next request is taken when there is room for it; one that fails is a completion, too. When the
 * iteration is left early, what is under way is waited for.
 */
export async function* runRequests<UserData>(
  device: Device,
  requests: Iterable<RunRequest<UserData>> | AsyncIterable<RunRequest<UserData>>,
  depth: number = DEFAULT_DEPTH,
): AsyncGenerator<RunCompletion<UserData>, void, undefined> {
  const done: RunCompletion<UserData>[] = [];
  let underWay = 0;
  let wake: () => void = () => {};
  const start = (request: RunRequest<UserData>): void => {
    const { userData } = request;
    underWay += 1;
    const finish = (completion: RunCompletion<UserData>): void => {
      underWay -= 1;
      done.push(completion);
      wake();
    };
    perform(device, request).then(
      () => finish({ userData }),
      (error: unknown) => finish({ userData, error: error as BlkioError }),
    );
  };
  const progress = (): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve;
    });
  try {
    for await (const request of requests) {
      start(request);
      while (underWay >= depth && done.length === 0) await progress();
      while (done.length > 0) yield done.shift() as RunCompletion<UserData>;
    }
    while (underWay > 0 || done.length > 0) {
      if (done.length === 0) await progress();
      while (done.length > 0) yield done.shift() as RunCompletion<UserData>;
    }
  } finally {
    while (underWay > 0) await progress();
  }
}
