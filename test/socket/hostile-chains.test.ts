/** Descriptor chains that no driver would make, against the real program. */
import assert from 'node:assert/strict';
import { DriverConnection } from '../../src/testing/index.ts';
import { type Attack, attackSuite, type DeclareAttack } from '../support/attacked-server.ts';
import {
  type Descriptor,
  HandMadeRing,
  INDIRECT,
  NEXT,
  WRITE,
  writeTable,
} from '../support/hand-made-ring.ts';

const IN = 0;
const OUT = 1;
const IOERR = 1;
const UNTOUCHED = 0xee;
const HEADER = 16;
/** Where in a request's buffer its status byte is. */
const STATUS_AT = 32768;
const DATA_AT = 4096;
/** In no region: guest memory starts at 4 GiB and ends 64 MiB later. */
const NOWHERE = 0x1000;
const INDIRECT_FEATURE = 1n << 28n;

/** What a case puts into the descriptor table; head 0 is offered. `at` is a request's memory. */
type Layout = (at: number, ring: HandMadeRing) => readonly Descriptor[];

const header = (at: number): Descriptor => ({ address: at, length: HEADER, flags: NEXT, next: 1 });
const status = (at: number): Descriptor => ({
  address: at + STATUS_AT,
  length: 1,
  flags: WRITE,
});

async function withRing(
  { reactor, socketPath }: Attack,
  use: (ring: HandMadeRing) => Promise<void>,
  features?: bigint,
): Promise<void> {
  const connection = await DriverConnection.open({
    reactor,
    socketPath,
    ...(features === undefined ? {} : { features }),
  });
  try {
    await use(new HandMadeRing(connection));
  } finally {
    connection.close();
  }
}

/** The chain breaks the ring; it stays broken until it is stopped, and says where it stands. */
function breaks(declare: DeclareAttack, name: string, reason: string, layout: Layout): void {
  const attack = (attack: Attack): Promise<void> =>
    withRing(attack, async (ring) => {
      ring.describe(layout(ring.request(IN, 0).guestAddress, ring));
      ring.offer(0);
      await ring.broken();
      assert.equal(ring.usedIndex, 0, 'nothing is answered');
      assert.equal(await ring.connection.stopQueue(0), 1, 'the bad chain has been taken');
    });
  declare(`${name} breaks the ring`, attack, [
    new RegExp(`warn +client \\d+: ring 0 is not served any more: ${reason}`),
  ]);
}

/** The chain is answered with an I/O error, and the ring goes on. */
function fails(declare: DeclareAttack, name: string, type: number, layout: Layout): void {
  declare(`${name} is answered with an I/O error`, (attack) =>
    withRing(attack, async (ring) => {
      const request = ring.request(type, 0);
      request.bytes[STATUS_AT] = UNTOUCHED;
      ring.describe(layout(request.guestAddress, ring));
      ring.offer(0);
      await ring.used(1);
      assert.equal(request.bytes[STATUS_AT], IOERR);
      ring.offer(0);
      await ring.used(2);
    }),
  );
}

attackSuite('hostile chains: loops, indices, order', [], (attack) => {
  const LOOPS = 'descriptor chain is too long or loops';
  const OUTSIDE = 'descriptor index outside the table';
  const NO_STATUS = 'request without a byte for its status';

  breaks(attack, 'a chain of one descriptor that follows itself', LOOPS, (at) => [
    { address: at, length: HEADER, flags: NEXT, next: 0 },
  ]);
  breaks(attack, 'a chain that loops among writable descriptors', LOOPS, (at) => [
    header(at),
    { address: at + DATA_AT, length: 512, flags: NEXT | WRITE, next: 2 },
    { address: at + DATA_AT, length: 512, flags: NEXT | WRITE, next: 1 },
  ]);
  breaks(attack, 'a loop of descriptors of no length', LOOPS, (at) => [
    { address: at, length: 0, flags: NEXT, next: 1 },
    { address: at, length: 0, flags: NEXT, next: 0 },
  ]);
  breaks(attack, 'a chain that leaves the table by one', OUTSIDE, (at) => [
    { address: at, length: HEADER, flags: NEXT, next: 128 },
  ]);
  breaks(attack, 'a chain that leaves the table by far', OUTSIDE, (at) => [
    { address: at, length: HEADER, flags: NEXT, next: 0xffff },
  ]);
  breaks(
    attack,
    'a readable descriptor after a writable one',
    'readable descriptor after',
    (at) => [
      header(at),
      { address: at + STATUS_AT, length: 1, flags: WRITE | NEXT, next: 2 },
      { address: at, length: HEADER },
    ],
  );
  breaks(attack, 'a request without a status byte', NO_STATUS, (at) => [
    { address: at, length: HEADER },
  ]);
  breaks(attack, 'a request with its status outside memory', NO_STATUS, (at) => [
    header(at),
    { address: NOWHERE, length: 1, flags: WRITE },
  ]);
  breaks(attack, 'a status whose address overflows', NO_STATUS, (at) => [
    header(at),
    { address: 2n ** 64n - 1n, length: 0xffffffff, flags: WRITE },
  ]);
  breaks(attack, 'a chain of nothing but descriptors of no length', NO_STATUS, (at) => [
    { address: at, length: 0, flags: NEXT | WRITE, next: 1 },
    { address: at, length: 0, flags: WRITE },
  ]);
});

attackSuite('hostile chains: indirect tables', [], (attack) => {
  const MALFORMED = 'malformed indirect descriptor';
  const table = (ring: HandMadeRing, descriptors: readonly Descriptor[]): number => {
    const buffer = ring.connection.ram.allocate(4096, 4096);
    writeTable(buffer.bytes, descriptors);
    return buffer.guestAddress;
  };
  for (const length of [0, 8, 17]) {
    breaks(attack, `an indirect table of ${length} bytes`, MALFORMED, (at, ring) => [
      { address: table(ring, [header(at), status(at)]), length, flags: INDIRECT },
    ]);
  }
  breaks(attack, 'an indirect table with a descriptor after it', MALFORMED, (at, ring) => [
    { address: table(ring, [header(at), status(at)]), length: 32, flags: INDIRECT | NEXT, next: 1 },
    status(at),
  ]);
  breaks(attack, 'an indirect table inside another', MALFORMED, (at, ring) => {
    const inner = table(ring, [header(at), status(at)]);
    const outer = table(ring, [{ address: inner, length: 32, flags: INDIRECT }]);
    return [{ address: outer, length: 16, flags: INDIRECT }];
  });
  breaks(attack, 'an indirect table of 4 GiB', 'descriptor chain is too long', (at) => [
    { address: at, length: 0xfffffff0, flags: INDIRECT },
  ]);
  breaks(attack, 'an indirect table outside memory', 'indirect table outside', () => [
    { address: NOWHERE, length: 32, flags: INDIRECT },
  ]);
  breaks(attack, 'an indirect table that ends outside memory', 'indirect table outside', () => [
    { address: 0x1_0000_0000 + 64 * 1024 * 1024 - 16, length: 32, flags: INDIRECT },
  ]);
  breaks(
    attack,
    'an indirect chain that leaves its table',
    'descriptor index outside',
    (at, ring) => {
      const entries = [{ ...header(at), next: 2 }, status(at), status(at)];
      return [{ address: table(ring, entries), length: 32, flags: INDIRECT }];
    },
  );
  breaks(attack, 'an indirect chain that loops', 'descriptor chain is too long', (at, ring) => {
    const entries = [header(at), { ...header(at), next: 0 }];
    return [{ address: table(ring, entries), length: 32, flags: INDIRECT }];
  });
  attack(
    'an indirect table that was not negotiated breaks the ring',
    (details) =>
      withRing(
        details,
        async (ring) => {
          const at = ring.request(IN, 0).guestAddress;
          ring.describe([{ address: at, length: 32, flags: INDIRECT }]);
          ring.offer(0);
          await ring.broken();
        },
        ~INDIRECT_FEATURE,
      ),
    [/ring 0 is not served any more: malformed indirect descriptor$/],
  );
});

attackSuite('hostile chains: addresses and lengths', [], (attack) => {
  const dataCases: readonly (readonly [string, (at: number) => Partial<Descriptor>])[] = [
    ['outside memory', () => ({ address: NOWHERE, length: 512 })],
    ['at the last address there is', () => ({ address: 2n ** 64n - 1n, length: 512 })],
    ['that wraps around', () => ({ address: 2n ** 64n - 256n, length: 512 })],
    ['at 2^63', () => ({ address: 2n ** 63n, length: 512 })],
    ['of 4 GiB', (at) => ({ address: at, length: 0xfffffe00 })],
    [
      'that ends behind memory',
      () => ({ address: 0x1_0000_0000 + 64 * 1024 * 1024 - 512, length: 1024 }),
    ],
    ['of a length that is no number of sectors', (at) => ({ address: at, length: 511 })],
  ];
  for (const [what, part] of dataCases) {
    for (const [name, type, flags] of [
      ['read', IN, NEXT | WRITE],
      ['write', OUT, NEXT],
    ] as const) {
      fails(attack, `a ${name} with data ${what}`, type, (at) => [
        header(at),
        { address: at, length: 512, ...part(at), flags, next: 2 },
        status(at),
      ]);
    }
  }
  fails(attack, 'a header outside memory', IN, (at) => [
    { ...header(at), address: NOWHERE },
    status(at),
  ]);
  fails(attack, 'a header that is too short', IN, (at) => [
    { ...header(at), length: 15 },
    status(at),
  ]);
  attack('a sector number that overflows is answered with an I/O error', (details) =>
    withRing(details, async (ring) => {
      const sectors = [8192n, 2n ** 55n, 2n ** 63n, 2n ** 64n - 1n];
      for (const [index, sector] of sectors.entries()) {
        const request = ring.request(OUT, sector);
        const at = request.guestAddress;
        const data = { address: at + DATA_AT, length: 512, flags: NEXT, next: 2 };
        ring.describe([header(at), data, status(at)]);
        request.bytes[STATUS_AT] = UNTOUCHED;
        ring.offer(0);
        await ring.used(index + 1);
        assert.equal(request.bytes[STATUS_AT], IOERR, `sector ${sector}`);
      }
    }),
  );
});
