/**
 * Garbage as requests: whatever chain the driver makes, the parser does not throw, and all that it
 * hands to the disk lies in guest memory and within the disk.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { DiskOperation } from '../../../src/storage/index.ts';
import { GuestRam } from '../../../src/testing/index.ts';
import { Limit, RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { START_DISK, UNANSWERABLE } from '../../../src/virtio-blk/request-parser.ts';
import type { ChainPiece } from '../../support/block-chains.ts';
import { type ParsedRequest, ParserBench } from '../../support/parser-bench.ts';
import { propertyOptions } from '../../support/property-options.ts';

const PAGE = 4096;
const plan = [
  { guestAddress: PAGE, sizeBytes: PAGE },
  { guestAddress: 2 * PAGE, sizeBytes: PAGE },
  { guestAddress: 2 ** 32 - PAGE, sizeBytes: 2 * PAGE },
];
const ram = new GuestRam(plan);
const whole = plan.map(({ sizeBytes }, region) => ram.at(region, 0, sizeBytes).bytes);
const bench = new ParserBench(ram);
after(() => {
  bench[Symbol.dispose]();
  ram[Symbol.dispose]();
});

const nearRegion = fc
  .tuple(fc.nat(2), fc.constantFrom(0, PAGE), fc.integer({ min: -40, max: 40 }))
  .map(([region, edge, offset]) => plan[region].guestAddress + edge + offset);
const address = fc.oneof(
  { weight: 6, arbitrary: fc.nat(PAGE / 2 - 1).map((offset) => PAGE + offset * 2) },
  { weight: 2, arbitrary: nearRegion },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 64 - PAGE, 2 ** 63, 2 ** 48 - 1, 0) },
);
const length = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(0, 1, 15, 16, 17, 32, 511, 512, 513, 528, 1024) },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 31, 2 ** 32 - 1, 2 ** 32 - 512, PAGE, 2 * PAGE) },
);
const part = fc.record({ address, length });
const parts = fc.array(part, { maxLength: 6, size: 'max' });
/** Types and small numbers over and over: whatever address the header has, it may mean something. */
const noise = fc.array(
  fc.constantFrom<number>(...Object.values(RequestType), 0, 0, 0, 1, 2, 0x100, 0xffff_ffff),
  { minLength: 64, maxLength: 64 },
);

function checkDiskWork(parsed: ParsedRequest): void {
  const capacityBytes = bench.state.capacitySectors * 512;
  if (parsed.ranges.length > 0) {
    assert.ok(parsed.ranges.length <= Limit.RANGES);
    for (const { sector, sectors } of parsed.ranges) {
      assert.ok(sectors <= Limit.RANGE_SECTORS && (sector + sectors) * 512 <= capacityBytes);
    }
    return;
  }
  if (parsed.operation === DiskOperation.FLUSH) return;
  assert.ok(parsed.offsetBytes % 512 === 0 && parsed.lengthBytes % 512 === 0);
  assert.ok(parsed.offsetBytes + parsed.lengthBytes <= capacityBytes);
  let bytes = 0;
  for (const piece of parsed.memory) {
    assert.ok(piece.length > 0);
    const isInside = ram.regions.some(
      ({ mapping, sizeBytes }) =>
        piece.host >= mapping.address && piece.host + piece.length <= mapping.address + sizeBytes,
    );
    assert.ok(isInside, 'what the kernel is told is guest memory');
    bytes += piece.length;
  }
  assert.equal(bytes, parsed.lengthBytes);
}

test('garbage gets a status or is turned down, and nothing outside guest memory is touched', () => {
  bench.state.capacitySectors = 0x200;
  const seen = new Map<number, number>();
  fc.assert(
    fc.property(parts, parts, noise, (readable, writable, words) => {
      for (const bytes of whole) {
        new Uint32Array(bytes.buffer).forEach((_, index, all) => {
          all[index] = words[index % words.length];
        });
      }
      const pieces: ChainPiece[] = [
        ...readable.map((each) => ({ ...each, isWritable: false })),
        ...writable.map((each) => ({ ...each, isWritable: true })),
      ];
      fc.pre(pieces.length > 0);
      const parsed = bench.parse(pieces);
      seen.set(parsed.verdict, (seen.get(parsed.verdict) ?? 0) + 1);
      if (parsed.verdict === START_DISK) checkDiskWork(parsed);
      if (parsed.verdict === UNANSWERABLE) return;
      const status = parsed.statusAddress;
      assert.ok(
        plan.some(
          ({ guestAddress, sizeBytes }) =>
            status >= guestAddress && status < guestAddress + sizeBytes,
        ),
      );
    }),
    propertyOptions(4000),
  );
  // What the generator has to reach for this to mean anything.
  for (const verdict of [START_DISK, UNANSWERABLE, Status.OK, Status.IOERR, Status.UNSUPP]) {
    assert.ok((seen.get(verdict) ?? 0) > 20, `verdict ${verdict}: ${seen.get(verdict)} times`);
  }
});
