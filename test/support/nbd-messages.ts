/** What NBD servers say, byte by byte. */

/** Transmission flags, as the protocol numbers them. */
export const FLAGS = {
  has: 1,
  readOnly: 2,
  flush: 4,
  fua: 8,
  trim: 32,
  zeroes: 64,
  multiConn: 256,
  fastZero: 2048,
} as const;
export const ALL_FLAGS: number =
  FLAGS.has | FLAGS.flush | FLAGS.fua | FLAGS.trim | FLAGS.zeroes | FLAGS.fastZero;

/** An option's reply. */
export function optionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(20);
  header.writeBigUInt64BE(0x0003e889045565a9n);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(type, 12);
  header.writeUInt32BE(data.length, 16);
  return Buffer.concat([header, data]);
}

/** The information of an export. */
export function exportInfo(sizeBytes: number | bigint, flags: number): Buffer {
  const data = Buffer.alloc(12);
  data.writeBigUInt64BE(BigInt(sizeBytes), 2);
  data.writeUInt16BE(flags, 10);
  return data;
}

export function blockSizeInfo(...sizes: readonly number[]): Buffer {
  const data = Buffer.alloc(14);
  data.writeUInt16BE(3);
  sizes.forEach((size, index) => {
    data.writeUInt32BE(size, 2 + index * 4);
  });
  return data;
}

export function simpleReply(cookie: bigint, error = 0, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32BE(0x67446698);
  header.writeUInt32BE(error, 4);
  header.writeBigUInt64BE(cookie, 8);
  return Buffer.concat([header, data]);
}

/** A chunk of a structured reply. `flags` 1: the last. */
export function chunk(
  cookie: bigint,
  type: number,
  flags: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt32BE(0x668e33ef);
  header.writeUInt16BE(flags, 4);
  header.writeUInt16BE(type, 6);
  header.writeBigUInt64BE(cookie, 8);
  header.writeUInt32BE(payload.length, 16);
  return Buffer.concat([header, payload]);
}

/** Big-endian numbers, one after the other: `u(8, offset, 4, length)`. */
export function u(...pairs: readonly number[]): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < pairs.length; at += 2) {
    const part = Buffer.alloc(8);
    part.writeBigUInt64BE(BigInt(pairs[at + 1]));
    parts.push(part.subarray(8 - pairs[at]));
  }
  return Buffer.concat(parts);
}
