/** Both sides of a ring in one thread, over memory of their own. */
import assert from 'node:assert/strict';
import { GuestMemory } from '../../src/memory/index.ts';
import { Mapping } from '../../src/sys/index.ts';
import {
  ChainFault,
  createDeviceRing,
  createDriverRing,
  DESCRIPTOR_BYTES,
  DescriptorChain,
  type DeviceRing,
  type DriverRing,
  firstBase,
  type IndirectTables,
  type RingFormat,
  type RingMemory,
  ringBytes,
} from '../../src/virtqueue/index.ts';

/** Descriptors in each indirect table. */
export const INDIRECT_ENTRIES = 4;
/** Where the indirect tables are in guest memory: above 4 GiB, so that both halves matter. */
const TABLES_ADDRESS = 0x2_4000_0000;
const MAX_TABLES_BYTES = 32768 * INDIRECT_ENTRIES * DESCRIPTOR_BYTES;

let tables: { readonly guest: GuestMemory; readonly view: DataView } | undefined;

/** Memory for the largest ring's indirect tables: one for all pairs, what is in it is stale. */
function indirectMemory(): { readonly guest: GuestMemory; readonly view: DataView } {
  if (tables === undefined) {
    const mapping = Mapping.anonymous(MAX_TABLES_BYTES);
    const region = { guestAddress: TABLES_ADDRESS, userAddress: 0, sizeBytes: MAX_TABLES_BYTES };
    tables = {
      guest: new GuestMemory([{ ...region, mapping }]),
      view: new DataView(mapping.view(0, MAX_TABLES_BYTES)),
    };
  }
  return tables;
}

/** Zeroed memory for a ring, as long as it must be and no byte longer. */
export function createRingMemory(size: number, format: RingFormat = 'split'): RingMemory {
  const bytes = ringBytes(size, format);
  return {
    size,
    descriptors: new ArrayBuffer(bytes.descriptors),
    available: new ArrayBuffer(bytes.available),
    used: new ArrayBuffer(bytes.used),
  };
}

export interface RingPairOptions {
  readonly size: number;
  readonly eventIdx: boolean;
  readonly indirect: boolean;
  /** Default: split. */
  readonly format?: RingFormat;
}

/** See the module's comment. */
export class RingPair {
  readonly memory: RingMemory;
  readonly driver: DriverRing;
  readonly device: DeviceRing;
  /** The chain last taken. */
  readonly chain: DescriptorChain = new DescriptorChain();
  readonly #indirect: boolean;
  /** Holds the indirect tables. */
  readonly guest: GuestMemory;

  constructor(options: RingPairOptions) {
    const { guest, view } = indirectMemory();
    const indirect: IndirectTables = {
      view,
      address: TABLES_ADDRESS,
      entriesPerTable: INDIRECT_ENTRIES,
    };
    const { format = 'split' } = options;
    this.guest = guest;
    this.#indirect = options.indirect;
    this.memory = createRingMemory(options.size, format);
    this.driver = createDriverRing(format, this.memory, {
      eventIdx: options.eventIdx,
      ...(options.indirect ? { indirect } : {}),
    });
    this.device = createDeviceRing(format, this.memory, options.eventIdx, firstBase(format));
  }

  /** The device takes a chain that is well-formed, into `chain`. Returns its token. */
  take(): number {
    assert.ok(this.device.availableCount() > 0, 'there is a chain');
    const fault = this.device.takeChain(this.chain, this.guest, this.#indirect);
    assert.equal(fault, ChainFault.OK);
    return this.chain.token;
  }

  /** Send `count` chains of one piece through the ring, one by one: both indices move on. */
  cycle(count: number): void {
    const { driver, device } = this;
    for (let done = 0; done < count; done++) {
      driver.begin(1);
      driver.add(0, 0, 1, true);
      driver.commit();
      driver.publish();
      device.pushUsed(this.take(), 1);
      device.publish();
      driver.takeUsed();
    }
  }
}
