/**
 * Comes in between a file disk and the kernel: an observer is shown every operation before it is
 * handed over and when it is done, and may have it end otherwise. With it tests have the n-th call
 * fail, and record what would be on a disk that loses its power.
 */
import { type FileCalls, SystemFileCalls } from '../../src/storage/file/file-calls.ts';
import {
  type CacheMode,
  FileDisk,
  type FileDiskHandle,
  openFileDisk,
} from '../../src/storage/index.ts';
import {
  Fallocate,
  type FileIo,
  type FileIoHandler,
  type IovecTable,
  Mapping,
  PENDING,
  type Reactor,
  ReadWriteFlag,
} from '../../src/sys/index.ts';
import { libc } from '../../src/sys/libc.ts';

/** A call for the kernel. */
export interface FileOperation {
  readonly kind: 'read' | 'write' | 'zero' | 'sync' | 'discard';
  /** Which of the disk's requests it is for; -1: calls with a buffer do not tell. */
  readonly slot: number;
  readonly offset: number;
  /** 0: to the end of the file, for `sync`. */
  readonly bytes: number;
  /** A write that is on stable storage when it completes. */
  readonly isStable: boolean;
  /** Pieces of memory: address and length. */
  readonly pieces: readonly (readonly [address: number, bytes: number])[];
}

/** See the module's comment. */
export interface FileObserver {
  /** Before: `undefined` to let it happen, or the result that it is to have instead. */
  onStart(operation: FileOperation): number | undefined;
  /** @param result - what the disk is told: bytes or 0, or a negative errno. */
  onEnd(operation: FileOperation, result: number): void;
}

const offsetOf = (low: number, high: number): number => (high >>> 0) * 2 ** 32 + (low >>> 0);

function piecesOf(table: IovecTable, slot: number): [number, number][] {
  const first = table.firstWord(slot);
  return Array.from({ length: table.remaining(slot) }, (_, index): [number, number] => {
    const at = first + index * 4;
    return [offsetOf(table.words[at], table.words[at + 1]), table.words[at + 2] >>> 0];
  });
}

/** One way into the file. Operations of an engine that answers later are answered later. */
class WatchedIo implements FileIo, FileIoHandler {
  readonly #table: IovecTable;
  readonly #observer: FileObserver;
  readonly #handler: FileIoHandler | undefined;
  readonly #reactor: Reactor | undefined;
  readonly #pending = new Map<number, FileOperation>();
  io: FileIo | undefined;

  constructor(
    table: IovecTable,
    observer: FileObserver,
    later?: { readonly handler: FileIoHandler; readonly reactor: Reactor },
  ) {
    this.#table = table;
    this.#observer = observer;
    this.#handler = later?.handler;
    this.#reactor = later?.reactor.engine === 'io_uring' ? later.reactor : undefined;
  }

  onFileIo(slot: number, result: number): void {
    const operation = this.#pending.get(slot);
    if (operation === undefined) throw new Error(`slot ${slot} is done twice`);
    this.#pending.delete(slot);
    this.#observer.onEnd(operation, result);
    this.#handler?.onFileIo(slot, result);
  }

  readv(slot: number, low: number, high: number): number {
    const operation = this.#transfer('read', slot, low, high, false);
    return this.#do(operation, (io) => io.readv(slot, low, high));
  }

  writev(slot: number, low: number, high: number, flags: number): number {
    const isStable = (flags & ReadWriteFlag.DSYNC) !== 0;
    const operation = this.#transfer('write', slot, low, high, isStable);
    return this.#do(operation, (io) => io.writev(slot, low, high, flags));
  }

  #transfer(
    kind: 'read' | 'write',
    slot: number,
    low: number,
    high: number,
    isStable: boolean,
  ): FileOperation {
    const pieces = piecesOf(this.#table, slot);
    const bytes = pieces.reduce((sum, [, length]) => sum + length, 0);
    return { kind, slot, offset: offsetOf(low, high), bytes, isStable, pieces };
  }

  fdatasync(slot: number): number {
    const operation: FileOperation = {
      ...{ kind: 'sync', slot, offset: 0, bytes: 0, isStable: false, pieces: [] },
    };
    return this.#do(operation, (io) => io.fdatasync(slot));
  }

  fallocate(slot: number, mode: number, offset: number, bytes: number): number {
    const isHole = (mode & Fallocate.PUNCH_HOLE) !== 0;
    const operation: FileOperation = {
      ...{ kind: isHole ? 'discard' : 'zero', slot, offset, bytes, isStable: false, pieces: [] },
    };
    return this.#do(operation, (io) => io.fallocate(slot, mode, offset, bytes));
  }

  #do(operation: FileOperation, call: (io: FileIo) => number): number {
    if (this.io === undefined) throw new Error('not connected');
    const instead = this.#observer.onStart(operation);
    if (instead !== undefined && this.#reactor !== undefined) {
      this.#pending.set(operation.slot, operation);
      this.#reactor.after(0, () => this.onFileIo(operation.slot, instead));
      return PENDING;
    }
    const result = instead ?? call(this.io);
    if (result === PENDING) this.#pending.set(operation.slot, operation);
    else this.#observer.onEnd(operation, result);
    return result;
  }

  close(): void {
    this.io?.close();
  }
}

/** See the module's comment. */
class WatchedCalls implements FileCalls {
  readonly #calls: FileCalls;
  readonly #observer: FileObserver;

  constructor(calls: FileCalls, observer: FileObserver) {
    this.#calls = calls;
    this.#observer = observer;
  }

  byEngine(reactor: Reactor, table: IovecTable, handler: FileIoHandler): FileIo {
    const watched = new WatchedIo(table, this.#observer, { handler, reactor });
    watched.io = this.#calls.byEngine(reactor, table, watched);
    return watched;
  }

  byThread(table: IovecTable): FileIo {
    const watched = new WatchedIo(table, this.#observer);
    watched.io = this.#calls.byThread(table);
    return watched;
  }

  flushes(fd: number, reactor: Reactor, table: IovecTable, handler: FileIoHandler): FileIo {
    const watched = new WatchedIo(table, this.#observer, { handler, reactor });
    watched.io = this.#calls.flushes(fd, reactor, table, watched);
    return watched;
  }

  readAt(address: number, bytes: number, offset: number): number {
    return this.#do('read', address, bytes, offset, () =>
      this.#calls.readAt(address, bytes, offset),
    );
  }

  writeAt(address: number, bytes: number, offset: number): number {
    return this.#do('write', address, bytes, offset, () =>
      this.#calls.writeAt(address, bytes, offset),
    );
  }

  discard(offset: number, bytes: number): number {
    return this.#do('discard', 0, bytes, offset, () => this.#calls.discard(offset, bytes));
  }

  #do(
    kind: 'read' | 'write' | 'discard',
    address: number,
    bytes: number,
    offset: number,
    call: () => number,
  ): number {
    const pieces: [number, number][] = address === 0 ? [] : [[address, bytes]];
    const operation: FileOperation = { kind, slot: -1, offset, bytes, isStable: false, pieces };
    const result = this.#observer.onStart(operation) ?? call();
    this.#observer.onEnd(operation, result);
    return result;
  }

  sizeBytes(): number {
    return this.#calls.sizeBytes();
  }
}

/** Open a file whose operations are shown to an observer. */
export function openWatchedFile(
  options: { readonly path: string; readonly cache: CacheMode; readonly blockBytes?: number },
  observer: FileObserver,
  change: (handle: FileDiskHandle) => FileDiskHandle = (handle) => handle,
): FileDisk {
  const disk = openFileDisk(options);
  const handle = change(disk.share());
  const calls = new WatchedCalls(new SystemFileCalls(handle), observer);
  return new FileDisk(handle, () => disk.close(), undefined, calls);
}

const SCRATCH_BYTES = 4 * 1024 * 1024;
let scratch: Mapping | undefined;

/** What is in pieces of memory, for an operation that is being started. */
export function bytesOf(pieces: FileOperation['pieces']): Buffer {
  scratch ??= Mapping.anonymous(SCRATCH_BYTES);
  let done = 0;
  for (const [address, bytes] of pieces) {
    if (done + bytes > SCRATCH_BYTES) throw new Error('a transfer of more than 4 MiB');
    libc.memcpy(scratch.address + done, address, bytes);
    done += bytes;
  }
  return Buffer.from(new Uint8Array(scratch.view(0, done)));
}
