/** Random values of declared structures and payloads. */
import * as fc from 'fast-check';
import type { PayloadShape } from '../../src/vhost-user/payload.ts';
import type { Field, Fields, FieldType, Struct } from '../../src/vhost-user/struct.ts';

const BY_TYPE: Record<FieldType, fc.Arbitrary<number | bigint>> = {
  u8: fc.nat(0xff),
  u16: fc.nat(0xffff),
  u32: fc.nat(0xffffffff),
  u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  size64: fc.maxSafeNat(),
};

type AnyStruct = Record<string, number | bigint>;

/** Values of a structure. */
export function structValues(struct: Struct<Fields>): fc.Arbitrary<AnyStruct> {
  const fields = Object.entries(struct.fields) as [string, Field][];
  return fc.record(Object.fromEntries(fields.map(([name, { type }]) => [name, BY_TYPE[type]])), {
    noNullPrototype: true,
  });
}

/** Values of a payload. */
export function payloadValues(shape: PayloadShape): fc.Arbitrary<unknown> {
  switch (shape.kind) {
    case 'empty':
      return fc.constant(null);
    case 'struct':
      return structValues(shape.struct);
    case 'items':
      return fc.array(structValues(shape.item), { maxLength: shape.maxItems });
    case 'bytes':
      return fc
        .tuple(structValues(shape.struct), fc.uint8Array({ maxLength: shape.maxBytes }))
        .map(([head, bytes]) => ({ ...head, size: bytes.length, bytes }));
  }
}
