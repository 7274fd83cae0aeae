/**
 * A driver that puts chains of any pieces on a ring: for layouts and sizes that `BlockDriver`, with
 * its one buffer for each request, does not make.
 */
import { type Reactor, signalEvent, type Watch } from '../../src/sys/index.ts';
import type {
  DriverConnection,
  DriverQueue,
  GuestBuffer,
  GuestRam,
} from '../../src/testing/index.ts';
import { HEADER_BYTES } from '../../src/virtio-blk/index.ts';
import {
  createDriverRing,
  type DriverRing,
  type IndirectTables,
  NO_USED,
  RingFeature,
  ringFormat,
} from '../../src/virtqueue/index.ts';

/** One descriptor. */
export interface ChainPiece {
  readonly guestAddress: number;
  readonly length: number;
  readonly writable: boolean;
}

const INDIRECT_ENTRIES = 300;

/** A piece for the device to read. */
export function readable(buffer: GuestBuffer, start = 0, end = buffer.bytes.length): ChainPiece {
  return { guestAddress: buffer.guestAddress + start, length: end - start, writable: false };
}

/** A piece for the device to write. */
export function writable(buffer: GuestBuffer, start = 0, end = buffer.bytes.length): ChainPiece {
  return { ...readable(buffer, start, end), writable: true };
}

/** The bytes of a request's header. */
export function headerBytes(type: number, sector: number | bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return new Uint8Array(view.buffer);
}

/** See the module's comment. */
export class ChainDriver implements Disposable {
  readonly ring: DriverRing;
  readonly #queue: DriverQueue;
  readonly #pending = new Map<number, (usedLength: number) => void>();
  readonly #watch: Watch;

  /** @param indirect - use indirect tables where they were negotiated; they take guest memory. */
  constructor(
    connection: DriverConnection,
    queue: DriverQueue,
    reactor: Reactor,
    indirect = false,
  ) {
    const { features, ram } = connection;
    const has = (bit: number): boolean => (features & (1n << BigInt(bit))) !== 0n;
    const useIndirect = indirect && has(RingFeature.INDIRECT_DESC);
    this.#queue = queue;
    this.ring = createDriverRing(ringFormat(features), queue.memory, {
      eventIdx: has(RingFeature.EVENT_IDX),
      ...(useIndirect ? { indirect: indirectTables(ram, queue.memory.size) } : {}),
    });
    this.#watch = reactor.watch(queue.call.number, { onReadable: () => this.look() });
  }

  /** Put a chain on the ring and show it. Resolves with its used length when it is used. */
  async run(pieces: readonly ChainPiece[]): Promise<number> {
    const head = this.#put(pieces);
    const used = new Promise<number>((resolve) => this.#pending.set(head, resolve));
    if (this.ring.publish()) signalEvent(this.#queue.kick.number);
    this.look();
    return await used;
  }

  #put(pieces: readonly ChainPiece[]): number {
    if (!this.ring.begin(pieces.length)) throw new Error('the ring is full');
    for (const { guestAddress, length, writable } of pieces) {
      this.ring.add(guestAddress | 0, Math.floor(guestAddress / 2 ** 32) | 0, length, writable);
    }
    return this.ring.commit();
  }

  /** Take what is used. A call leads here; with a polled ring the test has to come by itself. */
  look(): void {
    do {
      for (;;) {
        const head = this.ring.takeUsed();
        if (head === NO_USED) break;
        const resolve = this.#pending.get(head);
        if (resolve === undefined)
          throw new Error(`the device used chain ${head}, not given to it`);
        this.#pending.delete(head);
        resolve(this.ring.usedLength);
      }
    } while (!this.ring.requestCalls());
  }

  /** Stop to listen for calls: before the connection is closed. */
  [Symbol.dispose](): void {
    this.#watch.close();
  }
}

function indirectTables(ram: GuestRam, ringSize: number): IndirectTables {
  const tables = ram.allocate(ringSize * INDIRECT_ENTRIES * 16);
  return {
    view: new DataView(tables.bytes.buffer),
    address: tables.guestAddress,
    entriesPerTable: INDIRECT_ENTRIES,
  };
}
