/**
 * A transfer that does not begin and end with blocks of the object: guests may ask for single
 * sectors, and firmware does. The object gets whole blocks; in their order, too, it takes them.
 */
import type { DiskObject } from './disk-object.ts';
import { type ByteRange, ObjectCall, type ObjectCaller } from './object-call.ts';

/** See the module's comment. */
export class PartialCall extends ObjectCall {
  /** Where in the blocks its bytes are. */
  readonly #from: number;
  readonly #bytes: number;

  constructor(
    caller: ObjectCaller,
    slot: number,
    operation: number,
    flags: number,
    { offset, length }: ByteRange,
    blockBytes: number,
  ) {
    const from = offset % blockBytes;
    const blocks = Math.ceil((from + length) / blockBytes);
    const whole = { offset: offset - from, length: blocks * blockBytes };
    super(caller, slot, operation, flags, whole);
    this.#from = from;
    this.#bytes = length;
  }

  override get dataBytes(): number {
    return this.#bytes;
  }

  protected override async read(object: DiskObject): Promise<void> {
    const [data] = this.caller.lend(this, false, true);
    const blocks = new Uint8Array(this.length);
    await object.read(blocks, this.offset, this);
    data.set(blocks.subarray(this.#from, this.#from + this.#bytes));
  }

  protected override async write(object: DiskObject): Promise<void> {
    // A copy: the request may be given up while the blocks are read.
    const [data] = this.caller.lend(this, false, true);
    const blocks = new Uint8Array(this.length);
    await object.read(blocks, this.offset, this);
    blocks.set(data, this.#from);
    await object.write?.(blocks, this.offset, this);
  }
}
