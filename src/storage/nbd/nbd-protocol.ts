/** Numbers of the NBD protocol (doc/proto.md of the NBD project), by its names. */

/** What a server begins with, and each option (handshake phase, newstyle). */
export const NBD_MAGIC = 0x4e42444d41474943n;
export const OPTION_MAGIC = 0x49484156454f5054n;
/** In place of `OPTION_MAGIC` in the handshake of servers before 2011 (oldstyle). */
export const OLDSTYLE_MAGIC = 0x00420281861253n;
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

/** Bytes of a request, of replies, and of an option's reply, without what follows them. */
export const REQUEST_BYTES = 28;
export const SIMPLE_REPLY_BYTES = 16;
export const STRUCTURED_REPLY_BYTES = 20;
export const OPTION_REPLY_BYTES = 20;

/** The longest string: export names, error messages. */
export const MAX_STRING_BYTES = 4096;

export const HandshakeFlag = { FIXED_NEWSTYLE: 1, NO_ZEROES: 2 } as const;

export const NbdOption = {
  EXPORT_NAME: 1,
  ABORT: 2,
  STARTTLS: 5,
  GO: 7,
  STRUCTURED_REPLY: 8,
} as const;

const ERROR_REPLY = 2 ** 31;

export const OptionReply = {
  ACK: 1,
  INFO: 3,
  ERR_UNSUP: ERROR_REPLY + 1,
  ERR_POLICY: ERROR_REPLY + 2,
  ERR_INVALID: ERROR_REPLY + 3,
  ERR_PLATFORM: ERROR_REPLY + 4,
  ERR_TLS_REQD: ERROR_REPLY + 5,
  ERR_UNKNOWN: ERROR_REPLY + 6,
  ERR_SHUTDOWN: ERROR_REPLY + 7,
  ERR_BLOCK_SIZE_REQD: ERROR_REPLY + 8,
} as const;

/** All error replies to options have the highest bit. */
export function isErrorReply(type: number): boolean {
  return type >= ERROR_REPLY;
}

export const NbdInfo = { EXPORT: 0, BLOCK_SIZE: 3 } as const;

export const TransmissionFlag = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  CAN_MULTI_CONN: 1 << 8,
  SEND_FAST_ZERO: 1 << 11,
} as const;

export const NbdCommand = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  WRITE_ZEROES: 6,
} as const;

export const CommandFlag = { FUA: 1 << 0, NO_HOLE: 1 << 1, FAST_ZERO: 1 << 4 } as const;

export const ChunkFlag = { DONE: 1 } as const;

export const ChunkType = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  ERROR: 0x8001,
  ERROR_OFFSET: 0x8002,
} as const;

/** All error chunks have the highest bit. */
export function isErrorChunk(type: number): boolean {
  return (type & 0x8000) !== 0;
}

const ERROR_NAMES: Readonly<Record<number, string>> = {
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  22: 'EINVAL',
  28: 'ENOSPC',
  75: 'EOVERFLOW',
  95: 'ENOTSUP',
  108: 'ESHUTDOWN',
};

/** The name of an error value; one that the protocol does not have counts as EINVAL. */
export function errorName(value: number): string {
  return ERROR_NAMES[value] ?? 'EINVAL';
}

/** The server has done what the protocol does not allow: the connection is of no use any more. */
export class NbdProtocolError extends Error {
  override readonly name = 'NbdProtocolError';
}

/** A request has failed, and the connection goes on. `code` is the name of a system error. */
export class NbdRequestError extends Error {
  override readonly name = 'NbdRequestError';
  readonly code: string;

  /** @param text - what the server says of it. */
  constructor(code: string, text = '') {
    super(`the server answers ${code}${text === '' ? '' : `: ${text}`}`);
    this.code = code;
  }
}

/** There is no server to answer. */
export class NbdLostError extends Error {
  override readonly name = 'NbdLostError';
  readonly code = 'EIO';
}

/** Text of a server's, for people: no control characters, not long. */
export function printable(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').slice(0, 200);
}
