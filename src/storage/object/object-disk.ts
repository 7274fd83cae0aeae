/** A disk object as a `Disk`: what serves disks can serve it, what wraps disks can wrap it. */
import { type Logger, type Reactor, takeAll } from '../../sys/index.ts';
import type { DiskAccess } from '../access/disk-access.ts';
import type {
  Disk,
  DiskChannel,
  DiskClaim,
  DiskHandle,
  DiskInfo,
  DiskRequestHandler,
} from '../disk.ts';
import type { DiskRequests } from '../disk-requests.ts';
import { allClaims, firstFailure, nameProblems } from '../disks-together.ts';
import { StorageError } from '../errors.ts';
import type { DiskObject } from './disk-object.ts';
import { ObjectAccess } from './object-access.ts';
import { ObjectChannel } from './object-channel.ts';
import { ObjectFaults } from './object-faults.ts';
import { objectInfo, objectLimits, objectSizeBytes } from './object-info.ts';
import { RequestOrder } from './request-order.ts';

const DEFAULT_DESCRIPTION = 'a disk object';

/** How a `Disk` made of an object differs from what the object says. */
export interface ObjectDiskOptions {
  /** What the object stands for, as `--explain` has it. Default: `object`. */
  readonly kind?: string;
  /** The guest may read only, whatever the object can. */
  readonly readOnly?: boolean;
  /** The disks that its methods use, and how; closed after it. */
  readonly below?: readonly Disk[];
  readonly accesses?: readonly DiskAccess[];
  /** Why its process cannot be confined; default: its author's code may need anything. */
  readonly needsOutside?: string | undefined;
}

/** See the module's comment. Used by the thread that made it. */
export class ObjectDisk implements Disk {
  readonly kind: string;
  readonly info: DiskInfo;
  readonly description: string;
  readonly below: readonly Disk[];
  readonly needsEventLoop: string = 'its methods may return promises';
  readonly needsOutside: string | undefined;
  readonly flushesFailed: Promise<string> | undefined;
  readonly claim: DiskClaim | undefined;
  readonly lock: DiskClaim | undefined;
  /** What it was made of. */
  readonly object: DiskObject;
  readonly #accesses: readonly DiskAccess[];
  readonly #order: RequestOrder;
  readonly #faults: ObjectFaults;
  readonly #resizeListeners = new Set<() => void>();
  readonly #onResized = (): void => {
    for (const listener of this.#resizeListeners) listener();
  };
  #isToldOfResizes = false;
  #sizeBytes: number;

  /** Throws a `StorageError` DISK_OBJECT that says what is wrong with the object. */
  constructor(object: DiskObject, options: ObjectDiskOptions = {}) {
    const info = objectInfo(object);
    this.info = options.readOnly === true ? readOnlyInfo(info) : info;
    this.kind = options.kind ?? 'object';
    this.below = options.below ?? [];
    this.flushesFailed = firstFailure(this.below);
    this.claim = allClaims(this.below.map((disk) => disk.claim));
    this.lock = allClaims(this.below.map((disk) => disk.lock));
    this.#accesses = options.accesses ?? [];
    this.needsOutside =
      'needsOutside' in options ? options.needsOutside : 'methods of its own may need anything';
    this.#sizeBytes = this.info.sizeBytes;
    this.object = object;
    this.description = object.description ?? DEFAULT_DESCRIPTION;
    this.#faults = new ObjectFaults(this.description);
    this.#order = new RequestOrder(object, objectLimits(object), this.#faults);
  }

  nameProblem(): string | undefined {
    return nameProblems(this.below);
  }

  useLogger(logger: Logger): void {
    this.#faults.logger = logger;
    this.object.useLogger?.(logger);
    for (const disk of this.below) disk.useLogger?.(logger);
  }

  onResize(listener: () => void): () => void {
    const { object } = this;
    this.#resizeListeners.add(listener);
    if (!this.#isToldOfResizes) object.on?.('resize', this.#onResized);
    this.#isToldOfResizes = true;
    return () => {
      const isLast = this.#resizeListeners.delete(listener) && this.#resizeListeners.size === 0;
      // An object that cannot take it back is not to be asked a second time.
      if (!isLast || object.off === undefined) return;
      object.off('resize', this.#onResized);
      this.#isToldOfResizes = false;
    };
  }

  /** A size that makes no sense changes nothing. */
  currentSizeBytes(): number {
    try {
      this.#sizeBytes = objectSizeBytes(this.object, this.info.logicalBlockBytes);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.#faults.logger.error(error.message);
    }
    return this.#sizeBytes;
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const { logicalBlockBytes } = this.info;
    return new ObjectChannel(this.#order, logicalBlockBytes, reactor, requests, handler);
  }

  openAccess(): DiskAccess {
    return new ObjectAccess(this, this.#order);
  }

  share(): DiskHandle {
    throw new TypeError('a disk object stays in its thread');
  }

  /** Rejects with a `StorageError` DISK_CLOSE_FAILED; what can be closed is closed. */
  async close(): Promise<void> {
    await this.#order.idle();
    try {
      await takeAll([() => this.object.close?.(), () => this.#closeBelow()]);
    } catch (error) {
      throw this.#faults.closing(error);
    }
  }

  async #closeBelow(): Promise<void> {
    // If that fails, a method that was given up is still at it: the disks cannot be closed under it.
    for (const access of this.#accesses) access.close();
    await takeAll(this.below.map((disk) => () => disk.close()));
  }
}

function readOnlyInfo(info: DiskInfo): DiskInfo {
  return { ...info, readOnly: true, canDiscard: false, canWriteZeroes: false };
}
