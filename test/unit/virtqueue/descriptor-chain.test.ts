/** What a driver may do wrong with a descriptor chain, and what each is called. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { GuestRam } from '../../../src/testing/index.ts';
import {
  CHAIN_FAULT_TEXT,
  ChainFault,
  DescriptorChain,
  DescriptorFlag,
  MAX_CHAIN_SEGMENTS,
} from '../../../src/virtqueue/index.ts';
import { descriptorTable, type RawDescriptor } from '../../support/descriptor-table.ts';
import { GuardedMemory } from '../../support/guarded-memory.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const PAGE = 4096;
/** Two regions that touch, and a hole behind them. */
const START = 0x1_0000_0000;
const ram = new GuestRam([
  { guestAddress: START, sizeBytes: 8 * PAGE },
  { guestAddress: START + 8 * PAGE, sizeBytes: 8 * PAGE },
]);
const END = START + 16 * PAGE;
const whole = [0, 1].map((region) => ram.at(region, 0, 8 * PAGE).bytes);
const memory = new GuardedMemory(ram.regions);
const chain = new DescriptorChain();
after(() => ram[Symbol.dispose]());

function read(descriptors: readonly RawDescriptor[], head = 0, indirectAllowed = true): ChainFault {
  return chain.read(
    descriptorTable(descriptors),
    descriptors.length,
    head,
    memory,
    indirectAllowed,
  );
}

/** Put a table into guest memory; it may cross from one region into the other. */
function putTable(address: number, descriptors: readonly RawDescriptor[]): RawDescriptor {
  const bytes = new Uint8Array(descriptorTable(descriptors).buffer);
  for (const [index, value] of bytes.entries()) {
    const offset = address + index - START;
    const region = offset < 8 * PAGE ? 0 : 1;
    whole[region][offset - region * 8 * PAGE] = value;
  }
  return { address, length: bytes.length, flags: INDIRECT };
}

/** The chain last read, for people. */
function segments(): string[] {
  return Array.from({ length: chain.count }, (_, index) => {
    const address = (chain.addressHigh[index] >>> 0) * 2 ** 32 + (chain.addressLow[index] >>> 0);
    const access = index < chain.readable ? 'r' : 'w';
    return `${access} ${address.toString(16)}+${chain.length[index]}`;
  });
}

/** `count` descriptors of a byte each, linked. */
function links(count: number, last: RawDescriptor = { address: 9, length: 1 }): RawDescriptor[] {
  return Array.from({ length: count }, (_, index) =>
    index === count - 1 ? last : { address: index, length: 1, flags: NEXT, next: index + 1 },
  );
}

test('a direct chain is followed in the order of its links, whatever the order in the table', () => {
  const fault = read(
    [
      { address: 0xffff_ffff_f000, length: 1, flags: WRITE },
      { address: 0x1000, length: 16, flags: NEXT, next: 2 },
      { address: 0x2000, length: 0xffff_ffff, flags: NEXT, next: 0 },
    ],
    1,
  );
  assert.equal(fault, ChainFault.OK);
  assert.deepEqual(segments(), ['r 1000+16', 'r 2000+4294967295', 'w fffffffff000+1']);
  assert.equal(chain.readable, 2);
});

test('a direct chain that loops, however long the loop is, is too long', () => {
  assert.equal(read([{ length: 1, flags: NEXT, next: 0 }]), ChainFault.LENGTH);
  assert.equal(read([{ length: 0, flags: NEXT, next: 0 }]), ChainFault.LENGTH);
  assert.equal(read(links(8, { length: 1, flags: NEXT, next: 3 })), ChainFault.LENGTH);
  assert.equal(read(links(8, { length: 0, flags: NEXT, next: 7 })), ChainFault.LENGTH);
});

test('a direct chain may have 1024 descriptors, and not one more', () => {
  assert.equal(MAX_CHAIN_SEGMENTS, 1024);
  assert.equal(read(links(1024)), ChainFault.OK);
  assert.equal(chain.count, 1024);
  assert.equal(read(links(1025)), ChainFault.LENGTH);
});

test('a direct chain whose head or link lies outside the table is an index fault', () => {
  assert.equal(read(links(4), 4), ChainFault.INDEX);
  assert.equal(read(links(4), 0xffff), ChainFault.INDEX);
  assert.equal(read(links(4, { length: 1, flags: NEXT, next: 4 })), ChainFault.INDEX);
  assert.equal(read(links(4, { length: 1, flags: NEXT, next: 0xffff })), ChainFault.INDEX);
});

test('a direct chain does not use the link of a descriptor without NEXT', () => {
  assert.equal(read([{ address: 5, length: 1, next: 0xffff }]), ChainFault.OK);
  assert.deepEqual(segments(), ['r 5+1']);
});

test('a direct chain with a readable descriptor behind a writable one is out of order', () => {
  const writable = { address: 1, length: 1, flags: NEXT | WRITE, next: 1 };
  assert.equal(read([writable, { address: 2, length: 1 }]), ChainFault.ORDER);
  assert.equal(read([writable, { address: 2, length: 1, flags: WRITE }]), ChainFault.OK);
  assert.equal(chain.readable, 0);
});

test('a direct chain may have descriptors of no bytes anywhere: they do not count', () => {
  const fault = read([
    { address: 1, length: 0, flags: NEXT | WRITE, next: 1 },
    { address: 2, length: 3, flags: NEXT, next: 2 },
    { address: 3, length: 0, flags: NEXT, next: 3 },
    { address: 4, length: 5, flags: WRITE },
  ]);
  assert.equal(fault, ChainFault.OK);
  assert.deepEqual(segments(), ['r 2+3', 'w 4+5']);
});

test('a chain read after a broken one starts afresh', () => {
  assert.equal(read(links(1025)), ChainFault.LENGTH);
  assert.equal(read(links(2)), ChainFault.OK);
  assert.equal(chain.count, 2);
});

const table: RawDescriptor[] = [
  { address: 0x10, length: 16, flags: NEXT, next: 2 },
  { address: 0x30, length: 1, flags: WRITE },
  { address: 0x20, length: 512, flags: NEXT | WRITE, next: 1 },
];
const inTable = ['r 10+16', 'w 20+512', 'w 30+1'];

test('an indirect chain is read from its table, alone or behind direct descriptors', () => {
  const last = putTable(START + 64, table);
  assert.equal(read([last]), ChainFault.OK);
  assert.deepEqual(segments(), inTable);
  assert.equal(read([{ address: 1, length: 2, flags: NEXT, next: 1 }, last]), ChainFault.OK);
  assert.deepEqual(segments(), ['r 1+2', ...inTable]);
});

test('an indirect chain may have WRITE set on its table, which means nothing', () => {
  const last = putTable(START, table);
  assert.equal(read([{ ...last, flags: INDIRECT | WRITE }]), ChainFault.OK);
  assert.deepEqual(segments(), inTable);
});

test('an indirect chain whose table lies across two regions, or ends where memory ends, is read all the same', () => {
  assert.equal(read([putTable(START + 8 * PAGE - 24, table)]), ChainFault.OK);
  assert.deepEqual(segments(), inTable);
  assert.equal(read([putTable(END - 48, table)]), ChainFault.OK);
  assert.deepEqual(segments(), inTable);
});

test('an indirect chain whose table is not all in memory is an address fault', () => {
  for (const address of [START - 16, END - 32, END, 0, 2 ** 48, 0xffff_ffff_ffff_f000]) {
    assert.equal(read([{ address, length: 48, flags: INDIRECT }]), ChainFault.ADDRESS);
  }
});

test('an indirect chain whose table is empty or no whole number of descriptors is malformed', () => {
  for (const length of [0, 1, 15, 17, 47]) {
    assert.equal(read([{ address: START, length, flags: INDIRECT }]), ChainFault.INDIRECT);
  }
});

test('an indirect chain is refused when the feature was not negotiated', () => {
  assert.equal(read([putTable(START, table)], 0, false), ChainFault.INDIRECT);
});

test('an indirect table within another, or with NEXT, is malformed', () => {
  const inner = putTable(START + PAGE, table);
  assert.equal(read([putTable(START, [inner])]), ChainFault.INDIRECT);
  const outer = putTable(START, [{ address: 1, length: 1, flags: NEXT, next: 1 }, inner]);
  assert.equal(read([outer]), ChainFault.INDIRECT);
  assert.equal(read([{ ...inner, flags: INDIRECT | NEXT, next: 0 }]), ChainFault.INDIRECT);
});

test('an indirect chain has links that stay within its table', () => {
  const wide = links(64);
  const short = putTable(START, [{ address: 1, length: 1, flags: NEXT, next: 1 }]);
  assert.equal(read([short, ...wide]), ChainFault.INDEX);
  assert.equal(read([putTable(START, [{ length: 1, flags: NEXT, next: 0 }])]), ChainFault.LENGTH);
});

test('an indirect chain may have 1024 descriptors, and not one more', () => {
  assert.equal(read([putTable(START, links(1024))]), ChainFault.OK);
  assert.equal(chain.count, 1024);
  assert.equal(read([putTable(START, links(1025))]), ChainFault.LENGTH);
  const direct = { address: 1, length: 1, flags: NEXT, next: 1 };
  assert.equal(read([direct, putTable(START, links(1024))]), ChainFault.LENGTH);
});

test('each fault has a text', () => {
  assert.equal(CHAIN_FAULT_TEXT.length, Object.keys(ChainFault).length);
});
