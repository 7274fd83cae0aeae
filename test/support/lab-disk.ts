/**
 * A disk in memory that is as difficult as a disk may be: it answers in any order and at any time,
 * is at a request's memory until it has answered, fails when it is told to, and can be recorded for
 * a loss of power.
 */
import type {
  Disk,
  DiskChannel,
  DiskHandle,
  DiskInfo,
  DiskRequestHandler,
  DiskRequests,
} from '../../src/storage/index.ts';
import { DiskFlag, DiskOperation } from '../../src/storage/index.ts';
import { bufferAddress, PENDING, type Reactor } from '../../src/sys/index.ts';
import { type PowerLossRecorder, type Random, seededRandom } from './power-loss.ts';
import type { FileOperation } from './watched-file.ts';

/** Longest time that a request takes, in milliseconds. */
const MAX_DELAY_MS = 2;
/** What a buffer holds that is yet to be filled. */
const GARBAGE = 0xdb;

/** Has requests fail. */
export interface LabFaults {
  /** A negative errno for a request that is to fail, else `undefined`. */
  resultOf(operation: FileOperation): number | undefined;
}

/** See the module's comment. */
export interface LabDiskOptions {
  /** What it holds; it is the disk's own from then on. */
  readonly content: Buffer;
  readonly seed?: number;
  /** Logical and physical; default: 512. */
  readonly blockBytes?: number;
  readonly info?: Partial<DiskInfo>;
  readonly recorder?: PowerLossRecorder;
}

const KINDS: Readonly<Record<number, FileOperation['kind']>> = {
  [DiskOperation.READ]: 'read',
  [DiskOperation.WRITE]: 'write',
  [DiskOperation.FLUSH]: 'sync',
  [DiskOperation.DISCARD]: 'discard',
  [DiskOperation.WRITE_ZEROES]: 'zero',
};

/** See the module's comment. Discarded data reads as zeros. */
export class LabDisk implements Disk {
  readonly kind = 'lab';
  readonly description = 'a disk in memory, for tests';
  readonly below: readonly Disk[] = [];
  readonly needsEventLoop = 'its memory is in this thread';
  readonly info: DiskInfo;
  readonly content: Buffer;
  readonly recorder: PowerLossRecorder | undefined;
  readonly random: Random;
  faults: LabFaults | undefined;
  /** The share of requests that are answered within the call. */
  promptShare = 0.25;
  /** Requests so far, those among them that were made to fail, and those under way. */
  started = 0;
  failed = 0;
  pending = 0;
  isClosed = false;

  constructor({ content, seed = 1, blockBytes = 512, info, recorder }: LabDiskOptions) {
    this.content = content;
    this.recorder = recorder;
    this.random = seededRandom(seed);
    this.info = {
      sizeBytes: content.length,
      readOnly: false,
      logicalBlockBytes: blockBytes,
      physicalBlockBytes: blockBytes,
      minIoBytes: 0,
      optimalIoBytes: 0,
      canDiscard: true,
      canWriteZeroes: true,
      writeBack: true,
      ...info,
    };
  }

  currentSizeBytes(): number {
    return this.content.length;
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    return new LabChannel(this, reactor, requests, handler);
  }

  share(): DiskHandle {
    throw new TypeError('its memory is in this thread');
  }

  close(): void {
    if (this.isClosed) throw new Error('the disk is closed twice');
    this.isClosed = true;
  }
}

class LabChannel implements DiskChannel {
  readonly #disk: LabDisk;
  readonly #reactor: Reactor;
  readonly #requests: DiskRequests;
  readonly #handler: DiskRequestHandler;
  #pending = 0;

  constructor(
    disk: LabDisk,
    reactor: Reactor,
    requests: DiskRequests,
    handler: DiskRequestHandler,
  ) {
    this.#disk = disk;
    this.#reactor = reactor;
    this.#requests = requests;
    this.#handler = handler;
  }

  start(slot: number): number {
    const disk = this.#disk;
    const operation = this.#operationOf(slot);
    this.#check(operation);
    disk.started += 1;
    const fault = disk.faults?.resultOf(operation);
    if (fault !== undefined) disk.failed += 1;
    disk.recorder?.onStart(operation);
    if (disk.random() < disk.promptShare) return this.#finish(operation, fault);
    if (operation.kind === 'read') this.#fill(operation, GARBAGE);
    this.#pending += 1;
    disk.pending += 1;
    const delayMs = disk.random() < 0.5 ? 0 : disk.random() * MAX_DELAY_MS;
    this.#reactor.after(delayMs, () => {
      this.#pending -= 1;
      disk.pending -= 1;
      this.#handler.onDiskDone(slot, this.#finish(operation, fault));
    });
    return PENDING;
  }

  #operationOf(slot: number): FileOperation {
    const { operation, flags, lengthBytes, iovecs } = this.#requests;
    const first = iovecs.firstWord(slot);
    const isTransfer = operation[slot] <= DiskOperation.WRITE;
    const count = isTransfer ? iovecs.remaining(slot) : 0;
    return {
      kind: KINDS[operation[slot]],
      slot,
      offset: operation[slot] === DiskOperation.FLUSH ? 0 : this.#requests.offsetBytes(slot),
      bytes: lengthBytes[slot],
      isStable: (flags[slot] & DiskFlag.STABLE) !== 0,
      pieces: Array.from({ length: count }, (_, index) => {
        const at = first + index * 4;
        const high = iovecs.words[at + 1] >>> 0;
        return [high * 2 ** 32 + (iovecs.words[at] >>> 0), iovecs.words[at + 2] >>> 0];
      }),
    };
  }

  /** What no caller of a disk may do. */
  #check({ kind, offset, bytes, pieces }: FileOperation): void {
    const { info, isClosed } = this.#disk;
    const { logicalBlockBytes, readOnly, sizeBytes } = info;
    const about = `${kind} of ${bytes} bytes at ${offset}`;
    if (isClosed) throw new Error(`${about}: the disk is closed`);
    if (kind === 'sync') return;
    if (readOnly && kind !== 'read') throw new Error(`${about}: the disk is read-only`);
    if (kind === 'discard' && !info.canDiscard) throw new Error(`${about}: it cannot`);
    if (kind === 'zero' && !info.canWriteZeroes) throw new Error(`${about}: it cannot`);
    const isWhole = offset % logicalBlockBytes === 0 && bytes % logicalBlockBytes === 0;
    if (!isWhole || bytes === 0) throw new Error(`${about}: no whole blocks`);
    if (offset + bytes > sizeBytes) throw new Error(`${about}: outside of ${sizeBytes} bytes`);
    if (kind !== 'read' && kind !== 'write') return;
    const sum = pieces.reduce((total, [, length]) => total + length, 0);
    if (sum !== bytes) throw new Error(`${about}: its memory has ${sum} bytes`);
  }

  /** The end of a request: only now is its memory read, or what it is to hold. */
  #finish(operation: FileOperation, fault: number | undefined): number {
    const { offset, bytes } = operation;
    const { content, recorder } = this.#disk;
    const result = fault ?? 0;
    const done = fault === undefined ? bytes : this.#doneOf(operation);
    switch (operation.kind) {
      case 'read':
        if (done > 0) this.#copyOut(operation.slot, content.subarray(offset, offset + done));
        break;
      case 'write':
        if (done > 0) this.#copyIn(operation.slot, content.subarray(offset, offset + done));
        break;
      case 'zero':
      case 'discard':
        content.fill(0, offset, offset + done);
        break;
      case 'sync':
    }
    recorder?.onEnd(operation, result === 0 && operation.kind === 'write' ? bytes : result);
    return result;
  }

  /** How much of a request that fails is done all the same. */
  #doneOf({ bytes }: FileOperation): number {
    const { random, info } = this.#disk;
    return Math.floor((random() * bytes) / info.logicalBlockBytes) * info.logicalBlockBytes;
  }

  #fill({ slot, bytes }: FileOperation, byte: number): void {
    this.#copyOut(slot, Buffer.alloc(bytes, byte));
  }

  #copyOut(slot: number, bytes: Buffer): void {
    const { iovecs } = this.#requests;
    iovecs.scatter(slot, bufferAddress(bytes), bytes.length);
    iovecs.rewind(slot);
  }

  #copyIn(slot: number, target: Buffer): void {
    const { iovecs } = this.#requests;
    iovecs.gather(slot, bufferAddress(target), target.length);
    iovecs.rewind(slot);
  }

  close(): void {
    if (this.#pending > 0) throw new Error('a channel is closed with requests under way');
  }
}
