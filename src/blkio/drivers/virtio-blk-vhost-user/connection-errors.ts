/** What goes wrong with a connection, by libblkio's conventions. */
import { SystemError } from '../../../sys/index.ts';
import { ProtocolError } from '../../../vhost-user/index.ts';
import { BlkioError, type BlkioErrorCode, blkioCode } from '../../errors.ts';

const PROTOCOL_CODES: Readonly<Partial<Record<string, BlkioErrorCode>>> = {
  NO_REPLY: 'ETIMEDOUT',
  DISCONNECTED: 'ECONNRESET',
};

/** See the module's comment. Throws what is neither the back-end's nor the system's fault. */
export function asBlkioError(error: unknown, path: string): BlkioError {
  if (error instanceof BlkioError) return error;
  const options = { cause: error };
  if (error instanceof ProtocolError) {
    const code = PROTOCOL_CODES[error.code] ?? 'EPROTO';
    return new BlkioError(code, `${path}: ${error.message}`, options);
  }
  if (error instanceof SystemError) {
    return new BlkioError(systemCode(error), error.message, options);
  }
  throw error;
}

function systemCode({ code }: SystemError): BlkioErrorCode {
  // A full queue of connections: somebody is there, but busy.
  if (code === 'EAGAIN') return 'EBUSY';
  return code === 'ENAMETOOLONG' ? 'EINVAL' : blkioCode(code);
}
