/** The handshake phase: newstyle, fixed or not, up to the export that is gone into. */
import type { ConnectionOptions } from 'node:tls';
import { ExportInfo, type NbdExport } from './nbd-export.ts';
import {
  HandshakeFlag,
  isErrorReply,
  NBD_MAGIC,
  NbdInfo,
  NbdOption,
  NbdProtocolError,
  OLDSTYLE_MAGIC,
  OPTION_MAGIC,
  OPTION_REPLY_BYTES,
  OPTION_REPLY_MAGIC,
  OptionReply,
  printable,
} from './nbd-protocol.ts';
import type { NbdSocket } from './nbd-socket.ts';

/** Of one reply to an option. */
const MAX_REPLY_BYTES = 16 * 1024;
/** Replies to one option: those that are unknown are to be ignored, but not without end. */
const MAX_REPLIES = 64;
/** What follows the answer to EXPORT_NAME for no reason. */
const ZEROES_BYTES = 124;

/** What is asked of a server. */
export interface NegotiationOptions {
  readonly exportName: string;
  /** Absent: without TLS. */
  readonly tls: ConnectionOptions | undefined;
}

/** What has come of it. */
export interface Negotiated {
  readonly export: NbdExport;
  /** Replies are structured. */
  readonly structured: boolean;
}

/** A reply to an option. */
interface Reply {
  readonly type: number;
  readonly data: Buffer;
}

/** See the module's comment. */
export async function negotiate(
  socket: NbdSocket,
  { exportName, tls }: NegotiationOptions,
): Promise<Negotiated> {
  const flags = await greet(socket);
  const isFixed = (flags & HandshakeFlag.FIXED_NEWSTYLE) !== 0;
  const noZeroes = (flags & HandshakeFlag.NO_ZEROES) !== 0;
  if (!isFixed) {
    if (tls !== undefined) throw new Error('the server is too old to have TLS');
    return { export: await goByName(socket, exportName, noZeroes), structured: false };
  }
  if (tls !== undefined) {
    const { type, data } = await ask(socket, NbdOption.STARTTLS, Buffer.alloc(0));
    if (type !== OptionReply.ACK) throw refusal('TLS', type, data);
    await socket.startTls(tls);
  }
  const { type } = await ask(socket, NbdOption.STRUCTURED_REPLY, Buffer.alloc(0));
  if (type === OptionReply.ERR_TLS_REQD) throw refusal('the connection', type);
  const structured = type === OptionReply.ACK;
  return { export: await go(socket, exportName, noZeroes), structured };
}

/** The server's first words, and our answer to them. */
async function greet(socket: NbdSocket): Promise<number> {
  const hello = await socket.read(16);
  if (hello.readBigUInt64BE(0) !== NBD_MAGIC) {
    throw new NbdProtocolError('what answers there is no NBD server');
  }
  const magic = hello.readBigUInt64BE(8);
  if (magic === OLDSTYLE_MAGIC) {
    throw new NbdProtocolError('the server speaks the oldstyle protocol, which is not supported');
  }
  if (magic !== OPTION_MAGIC) throw new NbdProtocolError('what answers there is no NBD server');
  const flags = (await socket.read(2)).readUInt16BE(0);
  const answer = Buffer.alloc(4);
  answer.writeUInt32BE(flags & (HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES));
  socket.write(answer);
  return flags;
}

function sendOption(socket: NbdSocket, option: number, data: Uint8Array): void {
  const header = Buffer.alloc(16);
  header.writeBigUInt64BE(OPTION_MAGIC);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(data.length, 12);
  socket.write(Buffer.concat([header, data]));
}

async function readReply(socket: NbdSocket, option: number): Promise<Reply> {
  const header = await socket.read(OPTION_REPLY_BYTES);
  const length = header.readUInt32BE(16);
  if (header.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC) {
    throw new NbdProtocolError('the reply to an option has a wrong magic number');
  }
  if (header.readUInt32BE(8) !== option) {
    throw new NbdProtocolError('the server replies to another option than was sent');
  }
  if (length > MAX_REPLY_BYTES) {
    throw new NbdProtocolError(`the reply to an option has ${length} bytes`);
  }
  return { type: header.readUInt32BE(12), data: await socket.read(length) };
}

/** An option with one reply. */
async function ask(socket: NbdSocket, option: number, data: Uint8Array): Promise<Reply> {
  sendOption(socket, option, data);
  const reply = await readReply(socket, option);
  if (reply.type !== OptionReply.ACK && !isErrorReply(reply.type)) {
    throw new NbdProtocolError(`a reply of type ${reply.type} to option ${option}`);
  }
  return reply;
}

/** NBD_OPT_GO; with servers that do not have it, EXPORT_NAME. */
async function go(socket: NbdSocket, exportName: string, noZeroes: boolean): Promise<NbdExport> {
  sendOption(socket, NbdOption.GO, goData(exportName));
  const info = new ExportInfo();
  for (let count = 0; count < MAX_REPLIES; count++) {
    const { type, data } = await readReply(socket, NbdOption.GO);
    if (type === OptionReply.ACK) return info.get();
    if (type === OptionReply.ERR_UNSUP) return goByName(socket, exportName, noZeroes);
    if (isErrorReply(type)) throw refusal(`export "${exportName}"`, type, data);
    if (type !== OptionReply.INFO) {
      throw new NbdProtocolError(`a reply of type ${type} to NBD_OPT_GO`);
    }
    info.add(data);
  }
  throw new NbdProtocolError('the replies to NBD_OPT_GO do not end');
}

function goData(exportName: string): Buffer {
  const name = Buffer.from(exportName);
  const data = Buffer.alloc(4 + name.length + 4);
  data.writeUInt32BE(name.length);
  name.copy(data, 4);
  data.writeUInt16BE(1, 4 + name.length);
  data.writeUInt16BE(NbdInfo.BLOCK_SIZE, 6 + name.length);
  return data;
}

async function goByName(
  socket: NbdSocket,
  exportName: string,
  noZeroes: boolean,
): Promise<NbdExport> {
  sendOption(socket, NbdOption.EXPORT_NAME, Buffer.from(exportName));
  const info = new ExportInfo();
  try {
    info.addExport(await socket.read(10));
  } catch (error) {
    if (error instanceof NbdProtocolError) throw error;
    const text = `it may have no export "${exportName}": ${(error as Error).message}`;
    throw new Error(text, { cause: error });
  }
  if (!noZeroes) await socket.read(ZEROES_BYTES);
  return info.get();
}

const REASONS: Readonly<Record<number, string>> = {
  [OptionReply.ERR_UNSUP]: 'the server does not have it',
  [OptionReply.ERR_POLICY]: 'the server does not allow it',
  [OptionReply.ERR_INVALID]: 'the server finds the request wrong',
  [OptionReply.ERR_PLATFORM]: 'the server is built without it',
  [OptionReply.ERR_TLS_REQD]: 'the server wants TLS: use nbds:// or nbds+unix://',
  [OptionReply.ERR_UNKNOWN]: 'the server has no such export',
  [OptionReply.ERR_SHUTDOWN]: 'the server is shutting down',
  [OptionReply.ERR_BLOCK_SIZE_REQD]: 'the server insists on block sizes that it does not say',
};

function refusal(what: string, type: number, data: Uint8Array = new Uint8Array(0)): Error {
  const reason = REASONS[type] ?? `error ${type - 2 ** 31}`;
  const text = printable(data).trim();
  return new Error(`${what} is refused: ${reason}${text === '' ? '' : ` ("${text}")`}`);
}
