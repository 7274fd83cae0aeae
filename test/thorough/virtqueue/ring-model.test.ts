/**
 * Both sides of a ring, split and packed, against a naive model: whatever the two sides do and in whatever
 * order, no entry is lost, doubled or mixed up, and no wake-up is lost.
 */
import { test } from 'node:test';
import fc from 'fast-check';
import type { RingFormat } from '../../../src/virtqueue/index.ts';
import { propertyOptions } from '../../support/property-options.ts';
import type { RingPairOptions } from '../../support/ring-pair.ts';
import { type RingStep, RingWalk } from '../../support/ring-walk.ts';

/** Mostly a little, now and then a lot. */
const count = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 1, max: 4 }) },
  { weight: 1, arbitrary: fc.integer({ min: 5, max: 3000 }) },
);

const step: fc.Arbitrary<RingStep> = fc.oneof(
  { weight: 4, arbitrary: chains() },
  { weight: 3, arbitrary: fc.constant({ kind: 'publishAvailable' } as const) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('take' as const), count }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('complete' as const), pick: fc.nat(5000), count }),
  },
  { weight: 3, arbitrary: fc.constant({ kind: 'publishUsed' } as const) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('takeBack' as const), count }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('suppressKicks', 'requestKicks', 'suppressCalls'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('requestCalls' as const), after: count }),
  },
);

function chains(): fc.Arbitrary<RingStep> {
  const pieces = fc.integer({ min: 1, max: 6 });
  return fc.record({ kind: fc.constant('add' as const), pieces, count });
}

const small = fc.integer({ min: 0, max: 6 });
const any = fc.integer({ min: 0, max: 15 });
const powerOfTwo = fc
  .oneof({ weight: 6, arbitrary: small }, { weight: 1, arbitrary: any })
  .map((exponent) => 2 ** exponent);
/** Packed rings have any size. */
const anySize = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 70 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 32768 }) },
);
const SIZES = { split: powerOfTwo, packed: fc.oneof(powerOfTwo, anySize) };
const FORMATS = ['split', 'packed'] as const;

function ringOptions(format: RingFormat): fc.Arbitrary<RingPairOptions> {
  const [eventIdx, indirect] = [fc.boolean(), fc.boolean()];
  return fc.record({ format: fc.constant(format), size: SIZES[format], eventIdx, indirect });
}

/** How far the indices have come: to begin with, or up to where 16 bits end, once or twice. */
const cycles = fc.oneof(
  { weight: 2, arbitrary: fc.nat(10) },
  { weight: 2, arbitrary: fc.nat(40).map((less) => 65536 - less) },
  { weight: 1, arbitrary: fc.nat(40).map((less) => 2 * 65536 - less) },
);

const sequence = fc.array(step, { maxLength: 300, size: 'max' });

for (const format of FORMATS) {
  test(`what both sides of a ${format} ring see is what the model says, across every wrap`, () => {
    fc.assert(
      fc.property(ringOptions(format), cycles, sequence, (ring, done, steps) => {
        const walk = new RingWalk(ring, done);
        for (const each of steps) walk.step(each);
        walk.finish();
      }),
      propertyOptions(200),
    );
  });
}

const BOTH = FORMATS.flatMap((format) => [false, true].map((eventIdx) => ({ format, eventIdx })));

test('a full ring of the largest size comes back whole, out of order', () => {
  for (const how of BOTH) {
    const walk = new RingWalk({ size: 32768, ...how, indirect: false }, 65536 - 20_000);
    walk.step({ kind: 'add', pieces: 1, count: 32768 });
    walk.step({ kind: 'publishAvailable' });
    walk.step({ kind: 'take', count: 32768 });
    walk.step({ kind: 'complete', pick: 32_000, count: 32768 });
    walk.step({ kind: 'publishUsed' });
    walk.step({ kind: 'takeBack', count: 32768 });
    walk.finish();
  }
});

test('thousands of small batches in a ring of one and of two entries', () => {
  for (const [format, size] of FORMATS.flatMap((each) => [1, 2].map((n) => [each, n] as const))) {
    const walk = new RingWalk({ format, size, eventIdx: true, indirect: false }, 0);
    for (let batch = 0; batch < 5000; batch++) {
      walk.step({ kind: 'requestKicks' });
      walk.step({ kind: 'add', pieces: size, count: size });
      walk.step({ kind: 'publishAvailable' });
      walk.step({ kind: 'take', count: 1 + (batch % size) });
      walk.step({ kind: 'requestCalls', after: 1 + (batch % 2) });
      walk.step({ kind: 'complete', pick: batch, count: 2 });
      walk.step({ kind: 'publishUsed' });
      walk.step({ kind: 'takeBack', count: 1 + (batch % 3) });
    }
    walk.finish();
  }
});
