/**
 * What a reactor needs from the kernel: readiness of descriptors and file I/O. Two implementations,
 * io_uring and epoll, behave alike as far as this page says.
 */
import type { FileIo, FileIoHandler } from '../file-io.ts';
import type { IovecTable } from '../iovec-table.ts';

/** Names of the engines, as `VHOSTKIT_ENGINE` and `--engine` take them. */
export type EngineName = 'io_uring' | 'epoll';

/** Told when a watched descriptor has become readable. Must not throw. */
export interface ReadinessHandler {
  /**
   * Readiness is edge-triggered: called at least once after each event (data, a connection, an
   * eventfd write, a hang-up), perhaps once for several, perhaps once too often. The handler reads
   * until EAGAIN; an eventfd need not be read at all.
   */
  onReadable(): void;
}

/** A descriptor being watched. */
export interface Watch {
  /**
   * Stop. The handler is not called again, even for an event that has already happened. Close the
   * watch before the descriptor.
   */
  close(): void;
}

/** How file I/O is to be handed to the kernel. */
export interface FileIoOptions {
  /**
   * Start reads and writes as soon as they are asked for while few are under way, rather than with
   * the turn's others: for files whose I/O takes a device its time. A device that does one request
   * after the other would stand idle while a batch is put together, and the thread while the device
   * does the batch.
   */
  readonly isEager?: boolean;
}

/** See the module's comment. Used by one thread. */
export interface Engine extends Disposable {
  readonly name: EngineName;
  /** Watch a descriptor; an event that is already there counts. */
  watch(fd: number, handler: ReadinessHandler): Watch;
  /** I/O on a file with the lists of `table`; the handler is called from `poll`. */
  fileIo(fd: number, table: IovecTable, handler: FileIoHandler, options?: FileIoOptions): FileIo;
  /** Call the handlers of what has happened, in the kernel's order. True if anything had. */
  poll(): boolean;
  /** Start the file I/O asked for since the last `flush` or `wait`. */
  flush(): void;
  /** `flush`, then sleep until `poll` has something to do, or the time is up, or for no reason. */
  wait(timeoutMs: number): void;
  /** How the thread that owns the engine can be told by Node's event loop that `poll` has work. */
  createNotifier(onReady: () => void): Notifier;
  /** A descriptor that tells whoever waits for it that `poll` has work. At most one. */
  createCompletionEvent(): CompletionEvent;
}

/** Tells Node's event loop that an engine has work: the attached home's alarm clock. */
export interface Notifier {
  /**
   * Resolves when it has all it needs: threads started, files read. It works before that, too.
   * Rejects if it cannot have that: it does not work then.
   */
  readonly ready: Promise<void>;
  /**
   * Call `onReady` once when the engine has work. Returns false, and does not arm, if it has some
   * already.
   */
  arm(): boolean;
  /** Whether a waiting notifier keeps the process alive; it does at first. */
  setReferenced(referenced: boolean): void;
  close(): void;
}

/**
 * A descriptor that is readable, level-triggered, while an engine has work, or was told to be: for
 * those who sleep elsewhere, in poll(2) or epoll(7), and look after the engine when they wake up.
 * It may be readable once too often, never too seldom:
 *
 *      reset() -> poll() until there is nothing more -> arm() -> sleep
 *
 * At first it is neither armed nor readable.
 */
export interface CompletionEvent {
  /** The descriptor's number. Not to be read from. */
  readonly fd: number;
  /** Not readable any more, for what has been until now. Before `poll`. */
  reset(): void;
  /**
   * From now on it becomes readable as soon as the engine has work. Submits what waits for that.
   * Returns false if the engine has work already: it may not become readable then.
   */
  arm(): boolean;
  /** Not readable, whatever the engine has, until it is armed or rung. */
  disarm(): void;
  /** Readable until `reset` or `disarm`, whether armed or not. */
  ring(): void;
  close(): void;
}
