/**
 * What the control path may change while the queues of a device run, in memory that all threads
 * see: a change takes effect with the next request.
 */

const CAPACITY_SECTORS = 0;
const WRITEBACK = 1;
/** Written by queues, the others by the control path: no write of one is lost to the other. */
const HAS_FLUSHED = 2;
const ENTRIES = 3;

/** What a driver takes the `writeback` field to be. */
export const Writeback = { OFF: 0, ON: 1, UNKNOWN: 2 } as const;

/** See the module's comment. Each thread makes its own over the same buffer. */
export class DeviceState {
  readonly buffer: SharedArrayBuffer;
  // Doubles: aligned 64-bit loads and stores are never torn on the machines supported.
  readonly #values: Float64Array;

  constructor(
    buffer: SharedArrayBuffer = new SharedArrayBuffer(ENTRIES * Float64Array.BYTES_PER_ELEMENT),
  ) {
    this.buffer = buffer;
    this.#values = new Float64Array(buffer);
  }

  /** Size of the disk. Requests beyond it get IOERR. */
  get capacitySectors(): number {
    return this.#values[CAPACITY_SECTORS];
  }

  set capacitySectors(sectors: number) {
    this.#values[CAPACITY_SECTORS] = sectors;
  }

  /**
   * The `writeback` field of the configuration space. As long as it is not known what the driver
   * takes it for, writes are made stable; a driver that flushes does not rely on that.
   */
  get writeback(): boolean {
    const value = this.#values[WRITEBACK];
    return value === Writeback.UNKNOWN ? this.#values[HAS_FLUSHED] !== 0 : value === Writeback.ON;
  }

  set writeback(enabled: boolean) {
    this.#values[WRITEBACK] = enabled ? Writeback.ON : Writeback.OFF;
  }

  /** One of `Writeback`. */
  get driversWriteback(): number {
    return this.#values[WRITEBACK];
  }

  /** What the driver takes the field for is not known. No ring runs. */
  forgetWriteback(): void {
    this.#values[HAS_FLUSHED] = 0;
    this.#values[WRITEBACK] = Writeback.UNKNOWN;
  }

  /** A driver's FLUSH is done. */
  onFlush(): void {
    this.#values[HAS_FLUSHED] = 1;
  }
}
