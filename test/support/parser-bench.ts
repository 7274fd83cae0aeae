/** A request parser with all it needs, and what it made of a chain. */
import { GuestMemory } from '../../src/memory/index.ts';
import type { GuestRam } from '../../src/testing/index.ts';
import {
  BlockFeature,
  BlockRequests,
  DeviceState,
  featureSet,
  Limit,
  type RequestRules,
} from '../../src/virtio-blk/index.ts';
import { RequestParser } from '../../src/virtio-blk/request-parser.ts';
import { ChainFault, DescriptorChain, SplitDriverRing } from '../../src/virtqueue/index.ts';
import { type ChainPiece, pushChain } from './block-chains.ts';
import { createRingMemory } from './ring-pair.ts';

const RING_SIZE = 2048;
const SLOTS = 4;
/** Not the first slot: what is kept by slot number must not end up in slot 0. */
const SLOT = 2;

/** What the disk is to do, as numbers that can be compared. */
export interface ParsedRequest {
  readonly verdict: number;
  readonly type: number;
  readonly statusAddress: number;
  readonly writtenBytes: number;
  readonly operation: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Host memory to read into or write from. */
  readonly memory: readonly { readonly host: number; readonly length: number }[];
  readonly ranges: readonly {
    readonly sector: number;
    readonly sectors: number;
    readonly flags: number;
  }[];
}

export const ALL_FEATURES: bigint = featureSet(
  BlockFeature.FLUSH,
  BlockFeature.CONFIG_WCE,
  BlockFeature.DISCARD,
  BlockFeature.WRITE_ZEROES,
);

/** See the module's comment. */
export class ParserBench implements Disposable {
  readonly state: DeviceState = new DeviceState();
  readonly requests: BlockRequests = new BlockRequests(SLOTS);
  readonly memory: GuestMemory;
  readonly #chain = new DescriptorChain();
  readonly #parser: RequestParser;
  readonly #tables: { view: DataView; address: number; entriesPerTable: number } | undefined;

  /** @param tablesRegion - region of `ram` for indirect tables; left out: chains are direct. */
  constructor(ram: GuestRam, rules: Partial<RequestRules> = {}, tablesRegion?: number) {
    this.memory = new GuestMemory(ram.regions);
    const all = { features: ALL_FEATURES, readOnly: false, logicalBlockBytes: 512, serial: 'disk' };
    this.state.capacitySectors = 2 ** 21;
    this.#parser = new RequestParser(
      this.requests,
      this.#chain,
      this.memory,
      { ...all, ...rules },
      this.state,
    );
    if (tablesRegion !== undefined) {
      const { guestAddress, mapping, sizeBytes } = ram.regions[tablesRegion];
      const view = new DataView(mapping.view(0, sizeBytes));
      // Only the first descriptor's table is used: the ring is new for each chain.
      this.#tables = { view, address: guestAddress, entriesPerTable: sizeBytes / 16 };
    }
  }

  /** Parse a chain of these pieces. */
  parse(pieces: readonly ChainPiece[]): ParsedRequest {
    const ringMemory = createRingMemory(RING_SIZE);
    const indirect = this.#tables;
    const ring = new SplitDriverRing(ringMemory, {
      eventIdx: false,
      ...(indirect === undefined ? {} : { indirect }),
    });
    const head = pushChain(ring, pieces);
    const table = new DataView(ringMemory.descriptors);
    const fault = this.#chain.read(table, RING_SIZE, head, this.memory, indirect !== undefined);
    if (fault !== ChainFault.OK) throw new Error(`fault ${fault}`);
    const verdict = this.#parser.parse(SLOT);
    return { verdict, ...this.#slotFields() };
  }

  #slotFields(): Omit<ParsedRequest, 'verdict'> {
    const { requests } = this;
    const { disk } = requests;
    const places = Array.from(
      { length: requests.rangeCount[SLOT] },
      (_, index) => SLOT * Limit.RANGES + index,
    );
    return {
      type: requests.type[SLOT],
      statusAddress: joinHalves(requests.statusLow[SLOT], requests.statusHigh[SLOT]),
      writtenBytes: this.#parser.writtenBytes,
      operation: disk.operation[SLOT],
      offsetBytes: disk.offsetBytes(SLOT),
      lengthBytes: disk.lengthBytes[SLOT],
      memory: Array.from({ length: disk.iovecs.remaining(SLOT) }, (_, index) => {
        const at = disk.iovecs.firstWord(SLOT) + index * 4;
        const words = disk.iovecs.words;
        return { host: joinHalves(words[at], words[at + 1]), length: words[at + 2] >>> 0 };
      }),
      ranges: places.map((place) => ({
        sector: requests.rangeSector[place],
        sectors: requests.rangeSectors[place],
        flags: requests.rangeFlags[place],
      })),
    };
  }

  [Symbol.dispose](): void {
    this.requests[Symbol.dispose]();
  }
}

function joinHalves(low: number, high: number): number {
  return (high >>> 0) * 2 ** 32 + (low >>> 0);
}
