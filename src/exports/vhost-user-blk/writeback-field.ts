/**
 * What the driver takes the `writeback` field for, across back-ends that follow one another.
 *
 * A driver that has switched the cache off relies on it that writes are stable when they complete.
 * But QEMU sends SET_CONFIG only when the driver changes the field, and not again when it connects
 * to another back-end or goes on on another host; it reads the configuration space only when it
 * starts (vhost-user-blk.c). So the value is kept in in-flight memory; where that has none, and the
 * driver may have begun with another back-end, it is not known.
 */
import type { RingSetup } from '../../vhost-user/index.ts';
import {
  BlockFeature,
  ConfigOffset,
  type ConfigSpace,
  type DeviceState,
  hasFeature,
  Writeback,
} from '../../virtio-blk/index.ts';
import { firstBase, ringFormat } from '../../virtqueue/index.ts';

/** See the module's comment. Of one session. */
export class WritebackField {
  readonly #config: ConfigSpace;
  readonly #state: DeviceState;
  /** The driver was told it, or has said it, or an earlier back-end has written it down. */
  #wasRead = false;
  #isKnown = false;
  #hasRun = false;

  constructor(config: ConfigSpace, state: DeviceState, initial: boolean) {
    this.#config = config;
    this.#state = state;
    this.#set(initial);
  }

  #set(enabled: boolean): void {
    this.#config.writeback = enabled;
    this.#state.writeback = enabled;
  }

  /** A part of the configuration space is read: the field has to be right by then. */
  onRead(offset: number, sizeBytes: number): void {
    this.#config.writeback = this.#state.writeback;
    const { WRITEBACK } = ConfigOffset;
    if (offset <= WRITEBACK && WRITEBACK < offset + sizeBytes) this.#wasRead = true;
  }

  /** The configuration space was written, and the field with it. */
  onWrite(): void {
    this.#isKnown = true;
    this.#set(this.#config.writeback);
  }

  /** One of `Writeback`, for the next back-end. */
  get kept(): number {
    return this.#state.driversWriteback;
  }

  /** What the one before has kept. What the driver has said since then is newer. */
  recall(kept: number): void {
    if (this.#isKnown || (kept !== Writeback.OFF && kept !== Writeback.ON)) return;
    this.#isKnown = true;
    this.#set(kept === Writeback.ON);
  }

  /**
   * A ring is about to run. One that does not start at the beginning was another back-end's before:
   * what the driver reads here it need not have looked at.
   *
   * @returns false if it turns out that the field is not known.
   */
  onRun({ features, base }: RingSetup): boolean {
    if (this.#hasRun) return true;
    this.#hasRun = true;
    const isNew = this.#wasRead && base === firstBase(ringFormat(features));
    if (this.#isKnown || isNew || !hasFeature(features, BlockFeature.CONFIG_WCE)) return true;
    // A field that says that writes are stable cannot be wrong.
    if (!this.#state.writeback) return true;
    this.#state.forgetWriteback();
    return false;
  }
}
