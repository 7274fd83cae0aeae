/** What can go wrong between a front-end and a back-end. */
import { CodedError } from '../sys/index.ts';

/** The reasons. */
export type ProtocolErrorCode =
  | 'UNKNOWN_MESSAGE'
  | 'BAD_FRAME'
  | 'BAD_PAYLOAD'
  | 'BAD_DESCRIPTORS'
  | 'NOT_NEGOTIATED'
  | 'WRONG_STATE'
  | 'BAD_FEATURES'
  | 'BAD_MEMORY'
  | 'BAD_RING'
  | 'BAD_LOG'
  | 'BAD_CONFIG'
  | 'REFUSED'
  | 'NO_REPLY'
  | 'DISCONNECTED';

/** Errors after which the bytes on the socket cannot be told apart any more. */
const FATAL: ReadonlySet<ProtocolErrorCode> = new Set(['BAD_FRAME', 'DISCONNECTED', 'NO_REPLY']);

/** A message that is wrong, comes at the wrong time, or does not come. */
export class ProtocolError extends CodedError<ProtocolErrorCode> {
  override readonly name = 'ProtocolError';

  /** Whether the connection cannot go on; otherwise a refusal of the message is enough. */
  get isFatal(): boolean {
    return FATAL.has(this.code);
  }
}
