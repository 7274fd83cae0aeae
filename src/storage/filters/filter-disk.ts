/**
 * What all filters without promises have in common: a disk over one other, which is as that one is
 * where it does not say otherwise. Their requests keep their slots.
 */
import type { Logger, Reactor } from '../../sys/index.ts';
import type {
  Disk,
  DiskChannel,
  DiskClaim,
  DiskHandle,
  DiskInfo,
  DiskRequestHandler,
} from '../disk.ts';
import type { DiskRequests } from '../disk-requests.ts';

/** See the module's comment. */
export abstract class FilterDisk implements Disk {
  abstract readonly kind: string;
  abstract readonly description: string;
  readonly info: DiskInfo;
  readonly below: readonly Disk[];
  readonly needsEventLoop: string | undefined;
  readonly needsOutside: string | undefined;
  readonly flushesFailed: Promise<string> | undefined;
  readonly claim: DiskClaim | undefined;
  readonly lock: DiskClaim | undefined;
  readonly grow?: (sizeBytes: number) => void;
  protected readonly lower: Disk;

  /** @param info - what it says of itself, where that is not what the lower disk says. */
  constructor(lower: Disk, info: Partial<DiskInfo> = {}) {
    this.lower = lower;
    this.below = [lower];
    this.info = { ...lower.info, ...info };
    this.needsEventLoop = lower.needsEventLoop === undefined ? undefined : 'the disk below does';
    this.needsOutside = lower.needsOutside;
    this.flushesFailed = lower.flushesFailed;
    this.claim = lower.claim;
    this.lock = lower.lock;
    const isAsLarge = this.info.sizeBytes === lower.info.sizeBytes;
    if (lower.grow !== undefined && isAsLarge && !this.info.readOnly) {
      this.grow = (sizeBytes) => lower.grow?.(sizeBytes);
    }
  }

  abstract openChannel(
    reactor: Reactor,
    requests: DiskRequests,
    handler: DiskRequestHandler,
  ): DiskChannel;

  abstract share(): DiskHandle;

  get descriptor(): number | undefined {
    return this.lower.descriptor;
  }

  get imagePath(): string | undefined {
    return this.lower.imagePath;
  }

  currentSizeBytes(): number {
    return this.lower.currentSizeBytes();
  }

  nameProblem(): string | undefined {
    return this.lower.nameProblem?.();
  }

  useLogger(logger: Logger): void {
    this.lower.useLogger?.(logger);
  }

  onResize(listener: () => void): () => void {
    return this.lower.onResize?.(listener) ?? ((): void => {});
  }

  close(): void | Promise<void> {
    return this.lower.close();
  }
}
