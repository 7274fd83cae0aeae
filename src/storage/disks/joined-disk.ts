/**
 * Disks one after the other, as one. Each keeps the size that it had when they were joined: what
 * comes behind it could not move.
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
import { allClaims, firstFailure, nameProblems } from '../disks-together.ts';
import { StorageError } from '../errors.ts';
import { settleAll } from '../settle-all.ts';
import { JoinedChannel } from './joined-channel.ts';

/** What is made of others like this. */
export type JoinedKind = 'concat' | 'split';

/** Joined disks for another thread. */
export interface JoinedDiskHandle {
  readonly kind: JoinedKind;
  readonly parts: readonly DiskHandle[];
  readonly description: string;
}

/** See the module's comment. */
export class JoinedDisk implements Disk {
  readonly kind: JoinedKind;
  readonly description: string;
  readonly info: DiskInfo;
  readonly below: readonly Disk[];
  readonly needsEventLoop: string | undefined;
  readonly needsOutside: string | undefined;
  readonly flushesFailed: Promise<string> | undefined;
  readonly claim: DiskClaim | undefined;
  readonly lock: DiskClaim | undefined;

  /** Throws a `StorageError` DISK_OPTION if they do not fit together; they stay the caller's then. */
  constructor(kind: JoinedKind, parts: readonly Disk[], description: string) {
    this.kind = kind;
    this.description = description;
    this.below = parts;
    this.info = joinedInfo(kind, parts);
    const needsEventLoop = parts.some((part) => part.needsEventLoop !== undefined);
    this.needsEventLoop = needsEventLoop ? 'a disk below does' : undefined;
    this.needsOutside = parts.find((part) => part.needsOutside !== undefined)?.needsOutside;
    this.flushesFailed = firstFailure(parts);
    this.claim = allClaims(parts.map((part) => part.claim));
    this.lock = allClaims(parts.map((part) => part.lock));
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    return new JoinedChannel(this.below, reactor, requests, handler);
  }

  currentSizeBytes(): number {
    return this.info.sizeBytes;
  }

  nameProblem(): string | undefined {
    return nameProblems(this.below);
  }

  useLogger(logger: Logger): void {
    for (const part of this.below) part.useLogger?.(logger);
  }

  share(): JoinedDiskHandle {
    const parts = this.below.map((part) => part.share());
    return { kind: this.kind, parts, description: this.description };
  }

  close(): void | Promise<void> {
    return settleAll(this.below.map((part) => () => part.close()));
  }
}

/** What can be said of all of them: the most that one demands, the least that one can. */
function joinedInfo(kind: JoinedKind, parts: readonly Disk[]): DiskInfo {
  const infos = parts.map(({ info }) => info);
  const most = (of: (info: DiskInfo) => number): number => Math.max(...infos.map(of));
  const readOnly = infos.some((info) => info.readOnly);
  const logicalBlockBytes = most((info) => info.logicalBlockBytes);
  infos.forEach(({ sizeBytes }, index) => {
    if (sizeBytes % logicalBlockBytes === 0) return;
    const which = `disk ${index + 1} of ${parts.length} (${parts[index].kind})`;
    const problem = `${which} has ${sizeBytes} bytes, no multiple of the block size`;
    throw new StorageError('DISK_OPTION', `${kind}: ${problem}, which is ${logicalBlockBytes}`);
  });
  const sizeBytes = infos.reduce((sum, info) => sum + info.sizeBytes, 0);
  if (!Number.isSafeInteger(sizeBytes)) {
    throw new StorageError('DISK_OPTION', `${kind}: the disks have ${sizeBytes} bytes: too many`);
  }
  return {
    sizeBytes,
    readOnly,
    logicalBlockBytes,
    physicalBlockBytes: most((info) => info.physicalBlockBytes),
    minIoBytes: most((info) => info.minIoBytes),
    optimalIoBytes: most((info) => info.optimalIoBytes),
    canDiscard: !readOnly && infos.every((info) => info.canDiscard),
    canWriteZeroes: !readOnly && infos.every((info) => info.canWriteZeroes),
    writeBack: infos.some((info) => info.writeBack),
  };
}
