/**
 * The device's side of a virtqueue, of either format: chains are taken, and used in any order.
 *
 * The ring is shared with a driver that may write anything at any time: whatever is read decides
 * once. Private to one thread.
 */
import type { DirtyLog, GuestMemory } from '../memory/index.ts';
import type { ChainFault, DescriptorChain } from './descriptor-chain.ts';

/** See the module's comment. */
export interface DeviceRing {
  readonly size: number;
  /** Where the next run of the ring goes on: what GET_VRING_BASE answers, in vhost-user's form. */
  readonly base: number;
  /** Why the ring cannot be served from the start, if it cannot. */
  readonly fault: string | undefined;
  /** Chains still to be taken that an earlier back-end had taken. They come first. */
  readonly unansweredCount: number;
  /**
   * Log writes to the ring from now on (VHOST_VRING_F_LOG), or no more.
   *
   * @param address - guest address that stands for the device area's first byte, below 2^53.
   */
  setDirtyLog(log: DirtyLog | undefined, address: number): void;
  /** How many chains can be taken; -1 if what the driver says is impossible. */
  availableCount(): number;
  /**
   * Take the next chain: what is in it, and its `token`. Only while `availableCount` says. After a
   * fault the ring cannot be used any more.
   *
   * @param indirectAllowed - VIRTIO_F_INDIRECT_DESC was negotiated.
   */
  takeChain(chain: DescriptorChain, memory: GuestMemory, indirectAllowed: boolean): ChainFault;
  /** A chain is done, by its token; the driver sees it after `publish`, or at once. */
  pushUsed(token: number, writtenBytes: number): void;
  /** How many used chains wait for `publish`. */
  readonly unpublished: number;
  /**
   * Whether the driver would have to be called for what is unpublished, as far as can be seen now:
   * it is asleep, then, and each call costs a wake-up.
   */
  readonly wouldCall: boolean;
  /** Show the driver all used chains. True if it wants to be called for them. */
  publish(): boolean;
  /** The device is about to look for chains by itself: kicks are a waste. */
  suppressKicks(): void;
  /** Ask for a kick at the next chain. False if there is one already. */
  requestKicks(): boolean;
}
