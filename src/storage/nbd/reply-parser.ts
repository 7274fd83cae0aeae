/**
 * What a server says in the transmission phase, as it comes: replies, simple and structured. Data
 * goes from the bytes received to where the request wants it, copied once. Whatever the protocol
 * does not allow is an `NbdProtocolError`, after which the parser is of no use any more.
 */
import {
  ChunkFlag,
  ChunkType,
  errorName,
  isErrorChunk,
  MAX_STRING_BYTES,
  NbdProtocolError,
  NbdRequestError,
  printable,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_BYTES,
  STRUCTURED_REPLY_MAGIC,
} from './nbd-protocol.ts';
import type { NbdRequest } from './nbd-request.ts';

const MAGIC_BYTES = 4;
const OFFSET_BYTES = 8;
const HOLE_BYTES = 12;
/** Of an error chunk: a number, the length of a text, the text, and an offset. */
const MIN_ERROR_BYTES = 6;
const MAX_ERROR_BYTES = MIN_ERROR_BYTES + MAX_STRING_BYTES + OFFSET_BYTES;

/** Whose requests are answered. */
export interface ReplyReceiver {
  /** The request that has this cookie and has no reply yet. */
  find(cookie: number): NbdRequest | undefined;
  /** The reply to a request is there, all of it. */
  onReplied(request: NbdRequest, error: Error | undefined): void;
}

/** See the module's comment. */
export class ReplyParser {
  readonly #structured: boolean;
  readonly #receiver: ReplyReceiver;
  /** What is awaited in one piece: a header, or the fixed part of a chunk. */
  readonly #piece = Buffer.alloc(Math.max(STRUCTURED_REPLY_BYTES, MAX_ERROR_BYTES));
  #pieceBytes = 0;
  #wantedBytes = MAGIC_BYTES;
  #next: () => void;
  /** The chunk that is being read, and its request. */
  #request: NbdRequest | undefined;
  #type = 0;
  #isLast = false;
  /** Data of a READ that is still to come, and where it belongs. */
  #dataLeft = 0;
  #dataAt = 0;

  /** @param structured - structured replies have been agreed on. */
  constructor(structured: boolean, receiver: ReplyReceiver) {
    this.#structured = structured;
    this.#receiver = receiver;
    this.#next = this.#magic;
  }

  /** Take bytes as they come. They are not kept. */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      at = this.#dataLeft > 0 ? this.#takeData(bytes, at) : this.#takePiece(bytes, at);
    }
  }

  #takeData(bytes: Uint8Array, at: number): number {
    const end = Math.min(bytes.length, at + this.#dataLeft);
    this.#request?.put(this.#dataAt, bytes.subarray(at, end));
    this.#dataAt += end - at;
    this.#dataLeft -= end - at;
    if (this.#dataLeft === 0) this.#endOfChunk();
    return end;
  }

  #takePiece(bytes: Uint8Array, at: number): number {
    const end = Math.min(bytes.length, at + this.#wantedBytes - this.#pieceBytes);
    this.#piece.set(bytes.subarray(at, end), this.#pieceBytes);
    this.#pieceBytes += end - at;
    if (this.#pieceBytes === this.#wantedBytes) this.#next();
    return end;
  }

  /** Go on when the piece has this many bytes in all. */
  #more(bytes: number, next: () => void): void {
    this.#wantedBytes = bytes;
    this.#next = next;
  }

  /** Go on with a new piece. */
  #fresh(bytes: number, next: () => void): void {
    this.#pieceBytes = 0;
    this.#more(bytes, next);
  }

  #magic(): void {
    const magic = this.#piece.readUInt32BE(0);
    if (magic === SIMPLE_REPLY_MAGIC) this.#more(SIMPLE_REPLY_BYTES, this.#simpleReply);
    else if (magic === STRUCTURED_REPLY_MAGIC && this.#structured) {
      this.#more(STRUCTURED_REPLY_BYTES, this.#chunk);
    } else fail('a reply has a wrong magic number');
  }

  #simpleReply(): void {
    const error = this.#piece.readUInt32BE(4);
    const request = this.#find(8);
    if (request.isRead && this.#structured) fail('a simple reply to a read');
    this.#request = request;
    this.#isLast = true;
    if (error !== 0) request.error = new NbdRequestError(errorName(error));
    else if (request.isRead) {
      this.#data(request.offset, request.length);
      return;
    }
    this.#endOfChunk();
  }

  #chunk(): void {
    this.#isLast = (this.#piece.readUInt16BE(4) & ChunkFlag.DONE) !== 0;
    this.#type = this.#piece.readUInt16BE(6);
    const request = this.#find(8);
    const length = this.#piece.readUInt32BE(16);
    this.#request = request;
    if (isErrorChunk(this.#type)) {
      if (length < MIN_ERROR_BYTES || length > MAX_ERROR_BYTES) {
        fail(`an error chunk of ${length} bytes`);
      }
      this.#fresh(length, this.#errorChunk);
    } else if (this.#type === ChunkType.NONE) {
      if (length !== 0 || !this.#isLast) fail('an empty chunk that is not the last');
      this.#endOfChunk();
    } else if (this.#type === ChunkType.OFFSET_DATA && request.isRead) {
      if (length <= OFFSET_BYTES || length - OFFSET_BYTES > request.length) {
        fail(`${length} bytes in a chunk of data for a read of ${request.length}`);
      }
      this.#fresh(OFFSET_BYTES, () => this.#data(this.#offset(0), length - OFFSET_BYTES));
    } else if (this.#type === ChunkType.OFFSET_HOLE && request.isRead) {
      if (length !== HOLE_BYTES) fail(`a chunk of ${length} bytes for a hole`);
      this.#fresh(HOLE_BYTES, this.#hole);
    } else {
      fail(`a chunk of type ${this.#type} for command ${request.command}`);
    }
  }

  #hole(): void {
    const request = this.#request as NbdRequest;
    const at = this.#cover(this.#offset(0), this.#piece.readUInt32BE(OFFSET_BYTES));
    request.putZeros(at, this.#piece.readUInt32BE(OFFSET_BYTES));
    this.#endOfChunk();
  }

  #data(offset: number, length: number): void {
    this.#dataAt = this.#cover(offset, length);
    this.#dataLeft = length;
  }

  #errorChunk(): void {
    const request = this.#request as NbdRequest;
    const textBytes = this.#piece.readUInt16BE(4);
    if (MIN_ERROR_BYTES + textBytes > this.#pieceBytes) fail('an error text longer than its chunk');
    if (this.#type === ChunkType.ERROR_OFFSET) {
      const isThere = MIN_ERROR_BYTES + textBytes + OFFSET_BYTES <= this.#pieceBytes;
      if (!isThere) fail('an error chunk without the offset that is said to be in it');
      const offset = this.#offset(MIN_ERROR_BYTES + textBytes);
      if (offset < request.offset || offset > request.offset + request.length) {
        fail('an error at an offset beyond its request');
      }
    }
    const text = printable(this.#piece.subarray(MIN_ERROR_BYTES, MIN_ERROR_BYTES + textBytes));
    const value = this.#piece.readUInt32BE(0);
    if (value === 0) fail('an error chunk without an error');
    request.error ??= new NbdRequestError(errorName(value), text);
    this.#endOfChunk();
  }

  /** Where a part of the disk is in the request. */
  #cover(offset: number, length: number): number {
    const request = this.#request as NbdRequest;
    const at = offset - request.offset;
    if (length === 0 || at < 0 || at + length > request.length) {
      fail('data beyond what was asked for');
    }
    if (request.covered?.add(at, at + length) !== true) fail('data that has come already');
    return at;
  }

  #endOfChunk(): void {
    const request = this.#request as NbdRequest;
    this.#request = undefined;
    this.#fresh(MAGIC_BYTES, this.#magic);
    if (!this.#isLast) return;
    const isComplete = request.covered?.isExactly(0, request.length) ?? true;
    if (request.error === undefined && !isComplete) fail('less data than was asked for');
    this.#receiver.onReplied(request, request.error);
  }

  #find(at: number): NbdRequest {
    // Ours are small: one that would be rounded is far from being one of them.
    const cookie = this.#piece.readUInt32BE(at) * 2 ** 32 + this.#piece.readUInt32BE(at + 4);
    const request = this.#receiver.find(cookie);
    return request ?? fail('a reply to a request that is not under way');
  }

  /** An offset that is no safe integer lies beyond every request. */
  #offset(at: number): number {
    return this.#piece.readUInt32BE(at) * 2 ** 32 + this.#piece.readUInt32BE(at + 4);
  }
}

function fail(problem: string): never {
  throw new NbdProtocolError(`the server breaks the protocol: ${problem}`);
}
