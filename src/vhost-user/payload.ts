/**
 * Payload codecs: a message carries nothing, one structure, or a structure that counts what follows
 * it: further structures, or bytes.
 */
import { FieldError, type Fields, type Struct, type StructValue } from './struct.ts';

/** What a payload is made of: from this, tests make random values. */
export type PayloadShape =
  | { readonly kind: 'empty' }
  | { readonly kind: 'struct'; readonly struct: Struct<Fields> }
  | {
      readonly kind: 'items';
      readonly struct: Struct<Fields>;
      readonly item: Struct<Fields>;
      readonly maxItems: number;
    }
  | { readonly kind: 'bytes'; readonly struct: Struct<Fields>; readonly maxBytes: number };

/** A payload's codec. */
export interface Payload<Value> {
  readonly shape: PayloadShape;
  /** Whether a message of so many bytes can be one. */
  accepts(sizeBytes: number): boolean;
  /** The sizes accepted, for messages to people: `8`, `40 to 264`. */
  readonly expectedBytes: string;
  encode(value: Value): Uint8Array;
  /**
   * @param bytes - as many as `accepts` said yes to.
   * @throws FieldError when they contradict each other.
   */
  decode(bytes: Uint8Array): Value;
  /** The value as text, for logs. */
  format(value: Value): string;
}

/** A payload's value. */
export type PayloadValue<Codec> = Codec extends Payload<infer Value> ? Value : never;

const NOTHING = new Uint8Array(0);

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** No payload. */
export const empty: Payload<null> = {
  shape: { kind: 'empty' },
  accepts: (sizeBytes) => sizeBytes === 0,
  expectedBytes: '0',
  encode: () => NOTHING,
  decode: () => null,
  format: () => '',
};

/** One structure. */
export function single<Declared extends Fields>(
  struct: Struct<Declared>,
): Payload<StructValue<Declared>> {
  return {
    shape: { kind: 'struct', struct },
    accepts: (sizeBytes) => sizeBytes === struct.sizeBytes,
    expectedBytes: String(struct.sizeBytes),
    encode: (value) => {
      const bytes = new Uint8Array(struct.sizeBytes);
      struct.write(viewOf(bytes), 0, value);
      return bytes;
    },
    decode: (bytes) => struct.read(viewOf(bytes), 0),
    format: (value) => struct.format(value),
  };
}

/** A structure whose first field counts the items that follow it. */
export function items<Head extends Fields, Item extends Fields>(
  struct: Struct<Head>,
  item: Struct<Item>,
  maxItems: number,
): Payload<readonly StructValue<Item>[]> {
  const countField = Object.keys(struct.fields)[0];
  const headBytes = struct.sizeBytes;
  return {
    shape: { kind: 'items', struct, item, maxItems },
    accepts: (sizeBytes) =>
      sizeBytes >= headBytes &&
      sizeBytes <= headBytes + maxItems * item.sizeBytes &&
      (sizeBytes - headBytes) % item.sizeBytes === 0,
    expectedBytes: `${headBytes} + n * ${item.sizeBytes}, n <= ${maxItems}`,
    encode: (values) => {
      const bytes = new Uint8Array(headBytes + values.length * item.sizeBytes);
      const head = Object.fromEntries(Object.keys(struct.fields).map((name) => [name, 0]));
      head[countField] = values.length;
      struct.write(viewOf(bytes), 0, head as StructValue<Head>);
      values.forEach((value, index) => {
        item.write(viewOf(bytes), headBytes + index * item.sizeBytes, value);
      });
      return bytes;
    },
    decode: (bytes) => {
      const head = struct.read(viewOf(bytes), 0) as Record<string, number | bigint>;
      const count = (bytes.length - headBytes) / item.sizeBytes;
      if (head[countField] !== count) {
        throw new FieldError(`${struct.name}.${countField} is ${head[countField]} of ${count}`);
      }
      return Array.from({ length: count }, (_, index) =>
        item.read(viewOf(bytes), headBytes + index * item.sizeBytes),
      );
    },
    format: (values) => `[${values.map((value) => item.format(value)).join(', ')}]`,
  };
}

/** A structure whose field `size` says how many bytes follow it. */
export function withBytes<Head extends Fields & { readonly size: { readonly type: 'u32' } }>(
  struct: Struct<Head>,
  maxBytes: number,
): Payload<StructValue<Head> & { readonly bytes: Uint8Array }> {
  const headBytes = struct.sizeBytes;
  return {
    shape: { kind: 'bytes', struct, maxBytes },
    accepts: (sizeBytes) => sizeBytes >= headBytes && sizeBytes <= headBytes + maxBytes,
    expectedBytes: `${headBytes} to ${headBytes + maxBytes}`,
    encode: (value) => {
      const bytes = new Uint8Array(headBytes + value.bytes.length);
      struct.write(viewOf(bytes), 0, value);
      bytes.set(value.bytes, headBytes);
      return bytes;
    },
    decode: (bytes) => {
      const head = struct.read(viewOf(bytes), 0);
      const following = bytes.length - headBytes;
      const { size } = head as { size: number };
      if (size !== following) {
        throw new FieldError(`${struct.name}.size is ${size}, but ${following} bytes follow`);
      }
      return { ...head, bytes: bytes.slice(headBytes) };
    },
    format: (value) => {
      const hex = Buffer.from(value.bytes).toString('hex');
      return `${struct.format(value)} ${hex}`;
    },
  };
}
