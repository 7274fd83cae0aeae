/** What the methods of a disk object throw: an errno for the guest, a line for its author. */
import { Errno, type Logger, silentLogger } from '../../sys/index.ts';
import { DiskOperation } from '../disk-requests.ts';
import { StorageError } from '../errors.ts';
import type { ObjectCall } from './object-call.ts';

/** Different errors that are remembered; the log has enough of them then. */
const MAX_REMEMBERED = 100;

const NAMES: Readonly<Record<number, string>> = {
  [DiskOperation.READ]: 'read',
  [DiskOperation.WRITE]: 'write',
  [DiskOperation.FLUSH]: 'flush',
  [DiskOperation.DISCARD]: 'discard',
  [DiskOperation.WRITE_ZEROES]: 'writeZeroes',
};

/** See the module's comment. */
export class ObjectFaults {
  logger: Logger = silentLogger;
  readonly #name: string;
  readonly #seen = new Set<string>();

  /** @param name - whose errors they are. */
  constructor(name: string) {
    this.#name = name;
  }

  /** The negative errno of what a request has failed with. Each kind of error is logged once. */
  resultOf(call: ObjectCall, error: unknown): number {
    const { code, message, text } = lookAt(error);
    const errno = typeof code === 'string' ? Errno[code as keyof typeof Errno] : undefined;
    // That it would be slow is an answer, not a fault.
    const isAnswer = call.mustBeFast && errno === Errno.EOPNOTSUPP;
    if (!isAnswer) this.#log(call, message, text);
    return -(errno ?? Errno.EIO);
  }

  /** What closing the disk fails with; as it is, if a disk below has said it. */
  closing(error: unknown): StorageError {
    if (error instanceof StorageError && error.code === 'DISK_CLOSE_FAILED') return error;
    const text = `${this.#name}: close failed: ${lookAt(error).message}`;
    return new StorageError('DISK_CLOSE_FAILED', text.replace(/\s+/g, ' '), { cause: error });
  }

  #log(call: ObjectCall, message: string, text: string): void {
    const method = NAMES[call.operation];
    const key = `${method} ${message}`;
    if (this.#seen.has(key) || this.#seen.size >= MAX_REMEMBERED) return;
    this.#seen.add(key);
    const { offset, length } = call;
    const where =
      call.operation === DiskOperation.FLUSH ? '' : ` of ${length} bytes at offset ${offset}`;
    this.logger.error(`${this.#name}: ${method}${where} failed: ${text}`);
  }
}

/** What there is to know of something that was thrown: it may be anything. */
interface Thrown {
  readonly code?: unknown;
  readonly message: string;
  /** With the place it comes from, if that is known. */
  readonly text: string;
}

function lookAt(thrown: unknown): Thrown {
  try {
    const code: unknown = (thrown as { code?: unknown } | undefined | null)?.code;
    if (!(thrown instanceof Error)) return { code, ...sameText(String(thrown)) };
    const { message, stack } = thrown;
    return { code, message: String(message), text: String(stack ?? message) };
  } catch {
    // Its properties throw, or it has no text.
    return sameText('with something that cannot be shown');
  }
}

function sameText(text: string): Thrown {
  return { message: text, text };
}
