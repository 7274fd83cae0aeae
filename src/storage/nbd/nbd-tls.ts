/** TLS to an NBD server: what is asked of its certificate, and which one is shown to it. */
import { existsSync, readFileSync } from 'node:fs';
import { isIP, type Socket } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect, createSecureContext, type TLSSocket } from 'node:tls';
import { StorageError } from '../errors.ts';
import type { NbdAddress } from './nbd-uri.ts';

/** What servers of unix sockets are called, unless told. */
const DEFAULT_NAME = 'localhost';

/** Files in PEM; see the parameters of `nbd`. */
export interface NbdTlsFiles {
  /** Whom to trust; absent: the authorities that Node.js trusts. */
  readonly ca?: string | undefined;
  /** Ours, for servers that ask for one. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** The name that the server's certificate has to have; default: the URI's host. */
  readonly hostname?: string | undefined;
}

/** Read all that TLS needs, once. Throws a `StorageError`. */
export function tlsOptions(address: NbdAddress, files: NbdTlsFiles): ConnectionOptions {
  const { ca, cert, key } = withFolder(files, address.tlsFolder);
  if ((cert === undefined) !== (key === undefined)) {
    const text = 'nbd: tls-cert and tls-key are needed together: a certificate and its private key';
    throw new StorageError('DISK_OPTION', text);
  }
  const name = files.hostname ?? address.tlsHostname ?? address.host ?? DEFAULT_NAME;
  const options: ConnectionOptions = {
    host: name,
    // A name for the server to choose its certificate by; an address may not be one.
    servername: isIP(name) === 0 ? name : '',
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
  };
  try {
    const secureContext = createSecureContext({
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca: readFileSync(ca) }),
      ...(cert === undefined ? {} : { cert: readFileSync(cert) }),
      ...(key === undefined ? {} : { key: readFileSync(key) }),
    });
    return { ...options, secureContext };
  } catch (error) {
    const { message } = error as Error;
    const given = [ca, cert, key].filter((path) => path !== undefined).join(', ');
    const text = `nbd: certificates or key cannot be used (${given}): ${message}`;
    throw new StorageError('DISK_OPEN_FAILED', text, { cause: error });
  }
}

/** Names in a folder are those that QEMU, nbdkit and libnbd give them. */
function withFolder(files: NbdTlsFiles, folder: string | undefined): NbdTlsFiles {
  if (folder === undefined) return files;
  const own = (name: string): string | undefined => {
    const path = join(folder, name);
    return existsSync(path) ? path : undefined;
  };
  return {
    ca: files.ca ?? join(folder, 'ca-cert.pem'),
    cert: files.cert ?? own('client-cert.pem'),
    key: files.key ?? own('client-key.pem'),
  };
}

/** Make a socket one with TLS. Resolves when the server's certificate has been verified. */
export function startTls(socket: Socket, options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = connect({ ...options, socket });
    const onError = (error: Error): void => {
      secured.destroy();
      reject(error);
    };
    const onClose = (): void => onError(new Error('the server hung up during the TLS handshake'));
    secured.once('error', onError);
    secured.once('close', onClose);
    secured.once('secureConnect', () => {
      secured.off('error', onError);
      secured.off('close', onClose);
      resolve(secured);
    });
  });
}
