/** Packed rings as no driver would make them, against the real program. */
import assert from 'node:assert/strict';
import { drainEvent, signalEvent } from '../../src/sys/index.ts';
import { DriverConnection } from '../../src/testing/index.ts';
import { firstBase, packedBase } from '../../src/virtqueue/index.ts';
import { type Attack, attackSuite, type DeclareAttack } from '../support/attacked-server.ts';
import { eventually } from '../support/eventually.ts';
import {
  AVAILABLE_0,
  AVAILABLE_1,
  INDIRECT,
  NEXT,
  type PackedDescriptor,
  USED_1,
  WRITE,
  writePacked,
} from '../support/packed-descriptors.ts';

const SIZE = 16;
const HEADER_BYTES = 16;
const STATUS_AT = 1024;
/** In no region. */
const NOWHERE = 0x1000;
const DATA_AT = 4096;
const IOERR = 1;
const UNTOUCHED = 0xee;

/** A packed ring written by hand. */
class PackedRingByHand {
  readonly connection: DriverConnection;
  readonly view: DataView;
  readonly #request;

  constructor(connection: DriverConnection) {
    this.connection = connection;
    this.view = new DataView(connection.queues[0].memory.descriptors);
    this.#request = connection.ram.allocate(65536, 4096);
  }

  /** Guest address of a header: a read of sector 0. */
  get at(): number {
    return this.#request.guestAddress;
  }

  get bytes(): Uint8Array {
    return this.#request.bytes;
  }

  /** Memory with a table of descriptors. */
  table(...descriptors: readonly PackedDescriptor[]): number {
    const buffer = this.connection.ram.allocate(4096, 4096);
    writePacked(new DataView(buffer.bytes.buffer), 0, descriptors);
    return buffer.guestAddress;
  }

  offer(...descriptors: readonly PackedDescriptor[]): void {
    writePacked(this.view, 0, descriptors);
    this.kick();
  }

  kick(): void {
    signalEvent(this.connection.queues[0].kick.number);
  }

  async used(index: number, flags: number): Promise<void> {
    await eventually(`descriptor ${index} is used`, () => {
      return (this.view.getUint16(index * 16 + 14, true) & 0x8080) === flags;
    });
  }

  async broken(): Promise<void> {
    const { number } = this.connection.queues[0].err;
    await eventually('the device signals a broken ring', () => drainEvent(number) > 0);
  }
}

async function withRing(
  { reactor, socketPath }: Attack,
  use: (ring: PackedRingByHand) => Promise<void>,
  features = -1n,
): Promise<void> {
  const options = { reactor, socketPath, packed: true, queueSize: SIZE, features };
  const connection = await DriverConnection.open(options);
  try {
    await use(new PackedRingByHand(connection));
  } finally {
    connection.close();
  }
}

/** The ring breaks, is told of, and stands where the bad chain begins. */
function breaks(
  declare: DeclareAttack,
  name: string,
  reason: string,
  make: (ring: PackedRingByHand) => readonly PackedDescriptor[],
  base = firstBase('packed'),
): void {
  const attack = (attack: Attack): Promise<void> =>
    withRing(attack, async (ring) => {
      const before = make(ring);
      ring.offer(...before);
      await ring.broken();
      assert.equal(ring.view.getUint16(14, true), before[0].flags, 'nothing is answered');
      assert.equal(await ring.connection.stopQueue(0), base);
    });
  declare(`${name} breaks the ring`, attack, [
    new RegExp(`warn +client \\d+: ring 0 is not served any more: ${reason}`),
  ]);
}

const A = AVAILABLE_1;
const header = (at: number): PackedDescriptor => ({
  address: at,
  length: HEADER_BYTES,
  flags: A | NEXT,
});
const status = (at: number): PackedDescriptor => ({
  address: at + STATUS_AT,
  length: 1,
  flags: A | WRITE,
});

attackSuite('hostile packed rings: chains', [], (attack) => {
  const LONG = 'descriptor chain is too long';
  const MALFORMED = 'malformed indirect descriptor';
  const NO_STATUS = 'request without a byte for its status';
  const taken = packedBase(1, 0, SIZE);

  breaks(attack, 'a chain longer than the ring', LONG, () =>
    Array.from({ length: SIZE }, () => ({ flags: A | NEXT })),
  );
  breaks(attack, 'a chain as long as the ring that goes on', LONG, ({ at }) => [
    ...Array.from({ length: SIZE - 1 }, () => ({ address: at, length: 1, flags: A | NEXT })),
    { address: at, length: 1, flags: A | NEXT | WRITE },
  ]);
  for (const id of [SIZE, 0xffff]) {
    breaks(attack, `a buffer ID of ${id}`, 'descriptor index outside', ({ at }) => [
      header(at),
      { ...status(at), id },
    ]);
  }
  breaks(attack, 'a readable descriptor after a writable one', 'readable descriptor', ({ at }) => [
    { ...status(at), flags: A | WRITE | NEXT },
    { ...header(at), flags: A },
  ]);
  breaks(
    attack,
    'a request without a status byte',
    NO_STATUS,
    ({ at }) => [{ ...header(at), flags: A }],
    taken,
  );
  breaks(
    attack,
    'an indirect table of nothing but empty descriptors',
    NO_STATUS,
    (ring) => [{ address: ring.table(), length: 64, flags: A | INDIRECT }],
    taken,
  );
  breaks(attack, 'an indirect descriptor with NEXT', MALFORMED, (ring) => [
    {
      address: ring.table(header(ring.at), status(ring.at)),
      length: 32,
      flags: A | INDIRECT | NEXT,
    },
    status(ring.at),
  ]);
  breaks(attack, 'an indirect descriptor that ends a chain', MALFORMED, (ring) => [
    header(ring.at),
    { address: ring.table(status(ring.at)), length: 16, flags: A | INDIRECT },
  ]);
  for (const length of [0, 8, 17]) {
    breaks(attack, `an indirect table of ${length} bytes`, MALFORMED, (ring) => [
      { address: ring.table(), length, flags: A | INDIRECT },
    ]);
  }
  breaks(attack, 'an indirect table of 4 GiB', LONG, ({ at }) => [
    { address: at, length: 0xfffffff0, flags: A | INDIRECT },
  ]);
  breaks(attack, 'an indirect table outside memory', 'indirect table outside', () => [
    { address: NOWHERE, length: 32, flags: A | INDIRECT },
  ]);
});

attackSuite('hostile packed rings: flags', [], (attack) => {
  attack('other flags in an indirect table mean nothing', (details) =>
    withRing(details, async (ring) => {
      const { at } = ring;
      const data = { address: at + DATA_AT, length: 512, flags: WRITE | INDIRECT | USED_1 };
      const entries = [{ ...header(at), flags: NEXT | 0x7f8, id: 0xffff }, data, status(at)];
      ring.bytes[STATUS_AT] = UNTOUCHED;
      ring.offer({ address: ring.table(...entries), length: 48, id: 3, flags: A | INDIRECT });
      await ring.used(0, USED_1);
      assert.equal(ring.bytes[STATUS_AT], 0);
      assert.equal(ring.view.getUint32(8, true), 513);
      assert.equal(ring.view.getUint16(12, true), 3);
    }),
  );
  attack('data outside memory is answered with an I/O error, and the ring goes on', (details) =>
    withRing(details, async (ring) => {
      const { at } = ring;
      ring.bytes[STATUS_AT] = UNTOUCHED;
      const data = { address: NOWHERE, length: 512, flags: A | WRITE | NEXT };
      ring.offer(header(at), data, { ...status(at), id: 7 });
      await ring.used(0, USED_1);
      assert.equal(ring.bytes[STATUS_AT], IOERR);
      assert.equal(await ring.connection.stopQueue(0), packedBase(3, 3, SIZE));
    }),
  );
  attack(
    'descriptors that are given again while they are under way are not taken',
    (details) =>
      withRing(details, async (ring) => {
        const { at } = ring;
        const chain = { address: ring.table(header(at), status(at)), length: 32 };
        ring.offer(...Array.from({ length: SIZE }, () => ({ ...chain, flags: A | INDIRECT })));
        ring.offer(
          ...Array.from({ length: SIZE }, () => ({ ...chain, flags: AVAILABLE_0 | INDIRECT })),
        );
        // Whatever of both laps was seen: the ring is within its bounds and stops.
        const base = await ring.connection.stopQueue(0);
        assert.equal(base & 0xffff, base >>> 16, 'nothing is under way');
      }),
    [],
    [/ring 0 is not served any more/],
  );
  attack(
    'flags that flip all the time do no harm',
    (details) =>
      withRing(details, async (ring) => {
        const { at } = ring;
        const chain = { address: ring.table(header(at), status(at)), length: 32 };
        const kinds = [
          A | INDIRECT,
          AVAILABLE_0 | INDIRECT,
          A | NEXT,
          A | NEXT | INDIRECT,
          0,
          USED_1,
        ];
        const endMs = performance.now() + 300;
        for (let turn = 0; performance.now() < endMs; turn++) {
          const index = (turn * 7) % SIZE;
          const flags = kinds[(turn * 5 + (turn >> 6)) % kinds.length];
          writePacked(ring.view, index, [{ ...chain, id: turn % SIZE, flags }]);
          if (turn % 64 === 0) ring.kick();
          // Less often than a client's warnings are all logged.
          if (turn % 20_000 === 0 && turn <= 40 * 20_000) {
            const base = await ring.connection.stopQueue(0);
            await ring.connection.startQueue(0, base);
          }
        }
      }),
    [],
    [/ring 0 is not served any more/],
  );
});

attackSuite('hostile packed rings: bases and sizes', [], (attack) => {
  for (const base of [0x8000_8010, 0x8010_8000, 0x8001_8000]) {
    attack(
      `a ring that is to go on at 0x${base.toString(16)} does not start`,
      (details) =>
        withRing(details, async (ring) => {
          await ring.connection.stopQueue(0);
          await assert.rejects(ring.connection.startQueue(0, base), { code: 'REFUSED' });
        }),
      [/ring 0 starts at index \d+: refused$/],
    );
  }
  attack(
    'a size of 0, or beyond the largest, is refused',
    (details) =>
      withRing(details, async ({ connection }) => {
        await connection.stopQueue(0);
        for (const num of [0, 1025, 32769, 65536]) {
          const request = connection.session.request('SET_VRING_NUM', { index: 0, num });
          await assert.rejects(request, { code: 'REFUSED' });
        }
      }),
    [/ring 0 of size \d+: must be at least 1, at most 1024: refused$/],
  );
  attack(
    'indirect tables that were not negotiated break the ring',
    (details) =>
      withRing(
        details,
        async (ring) => {
          ring.offer({
            address: ring.table(header(ring.at), status(ring.at)),
            length: 32,
            flags: A | INDIRECT,
          });
          await ring.broken();
        },
        ~(1n << 28n),
      ),
    [/ring 0 is not served any more: malformed indirect descriptor$/],
  );
});
