/**
 * What the control path may change while the queues of a device run, in memory that all threads
 * see: a change takes effect with the next request.
 */

const CAPACITY_SECTORS = 0;
const WRITEBACK = 1;
const ENTRIES = 2;

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

  /** The `writeback` field of the configuration space. */
  get writeback(): boolean {
    return this.#values[WRITEBACK] !== 0;
  }

  set writeback(enabled: boolean) {
    this.#values[WRITEBACK] = enabled ? 1 : 0;
  }
}
