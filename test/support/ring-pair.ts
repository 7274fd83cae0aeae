/** Both sides of a split ring in one thread, over memory of their own. */
import { GuestMemory } from '../../src/memory/index.ts';
import { Mapping } from '../../src/sys/index.ts';
import {
  DESCRIPTOR_BYTES,
  DriverRing,
  type IndirectTables,
  ringBytes,
  SplitRing,
  type SplitRingMemory,
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
export function createRingMemory(size: number): SplitRingMemory {
  const bytes = ringBytes(size);
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
}

/** See the module's comment. */
export class RingPair {
  readonly memory: SplitRingMemory;
  readonly driver: DriverRing;
  readonly device: SplitRing;
  /** Holds the indirect tables. */
  readonly guest: GuestMemory;

  constructor(options: RingPairOptions) {
    const { guest, view } = indirectMemory();
    const indirect: IndirectTables = {
      view,
      address: TABLES_ADDRESS,
      entriesPerTable: INDIRECT_ENTRIES,
    };
    this.guest = guest;
    this.memory = createRingMemory(options.size);
    this.driver = new DriverRing(this.memory, {
      eventIdx: options.eventIdx,
      ...(options.indirect ? { indirect } : {}),
    });
    this.device = new SplitRing(this.memory, options.eventIdx, 0);
  }

  /** Send `count` chains of one piece through the ring, one by one: both indices move on. */
  cycle(count: number): void {
    const { driver, device } = this;
    for (let done = 0; done < count; done++) {
      driver.begin(1);
      driver.add(0, 0, 1, true);
      driver.commit();
      driver.publish();
      device.pushUsed(device.takeHead(), 1);
      device.publish();
      driver.takeUsed();
    }
  }
}
