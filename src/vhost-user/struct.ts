/**
 * Binary structures, declared once: from the declaration come the type, the codec, the size, the
 * text for logs and, in the tests, random values.
 *
 * Numbers are little-endian (the protocol says native; vhostkit runs on little-endian machines
 * only), fields follow each other without padding. Values are plain objects.
 */

/** A field's type. `u64` is a bigint; `size64` is a u64 that must be a safe integer, a number. */
export type FieldType = 'u8' | 'u16' | 'u32' | 'u64' | 'size64';

/** A field: its type and what it means. */
export interface Field<Type extends FieldType = FieldType> {
  readonly type: Type;
  readonly meaning: string;
}

/** Field declarations, in order. */
export type Fields = Readonly<Record<string, Field>>;

type FieldValue<Type extends FieldType> = Type extends 'u64' ? bigint : number;

/** The value of a structure with such fields. */
export type StructValue<Declared extends Fields> = {
  readonly [Name in keyof Declared]: FieldValue<Declared[Name]['type']>;
};

const FIELD_BYTES: Record<FieldType, number> = { u8: 1, u16: 2, u32: 4, u64: 8, size64: 8 };

/** Declare a field. */
export function field<Type extends FieldType>(type: Type, meaning: string): Field<Type> {
  return { type, meaning };
}

/** A value that a field of its type cannot hold, or that came over the wire and makes no sense. */
export class FieldError extends RangeError {
  override readonly name = 'FieldError';
}

/** A structure: see the module's comment. */
export class Struct<Declared extends Fields> {
  readonly name: string;
  readonly fields: Declared;
  readonly sizeBytes: number;

  constructor(name: string, fields: Declared) {
    this.name = name;
    this.fields = fields;
    this.sizeBytes = Object.values(fields).reduce((sum, { type }) => sum + FIELD_BYTES[type], 0);
  }

  /** Write a value at `offset`. Throws a `FieldError` for numbers out of range. */
  write(view: DataView, offset: number, value: StructValue<Declared>): void {
    let at = offset;
    for (const [name, { type }] of Object.entries(this.fields)) {
      writeField(view, at, type, value[name] as number | bigint, `${this.name}.${name}`);
      at += FIELD_BYTES[type];
    }
  }

  /** Read a value at `offset`. Throws a `FieldError` for a `size64` above 2^53 - 1. */
  read(view: DataView, offset: number): StructValue<Declared> {
    const value: Record<string, number | bigint> = {};
    let at = offset;
    for (const [name, { type }] of Object.entries(this.fields)) {
      value[name] = readField(view, at, type, `${this.name}.${name}`);
      at += FIELD_BYTES[type];
    }
    return value as StructValue<Declared>;
  }

  /** A value as text: `{index: 0, num: 128}`; large numbers in hexadecimal. */
  format(value: StructValue<Declared>): string {
    const parts = Object.entries(this.fields).map(([name, { type }]) => {
      const number = value[name] as number | bigint;
      const isWide = type === 'u64' || type === 'size64';
      return `${name}: ${isWide ? `0x${number.toString(16)}` : number}`;
    });
    return `{${parts.join(', ')}}`;
  }
}

function writeField(
  view: DataView,
  at: number,
  type: FieldType,
  value: number | bigint,
  what: string,
): void {
  const bits = BigInt(FIELD_BYTES[type] * 8);
  const isInteger = typeof value === 'bigint' || Number.isSafeInteger(value);
  const wide = isInteger ? BigInt(value) : -1n;
  if (wide < 0n || wide >> bits !== 0n) throw new FieldError(`${what}: ${value} is no ${type}`);
  if (type === 'u8') view.setUint8(at, Number(wide));
  else if (type === 'u16') view.setUint16(at, Number(wide), true);
  else if (type === 'u32') view.setUint32(at, Number(wide), true);
  else view.setBigUint64(at, wide, true);
}

function readField(view: DataView, at: number, type: FieldType, what: string): number | bigint {
  switch (type) {
    case 'u8':
      return view.getUint8(at);
    case 'u16':
      return view.getUint16(at, true);
    case 'u32':
      return view.getUint32(at, true);
    case 'u64':
      return view.getBigUint64(at, true);
    case 'size64': {
      const value = view.getBigUint64(at, true);
      if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
      throw new FieldError(`${what}: 0x${value.toString(16)} is impossibly large`);
    }
  }
}
