/**
 * Where an export is: `nbd://host[:port]/export`, `nbds://` with TLS, `nbd+unix:///export?socket=/path`
 * and `nbds+unix://` over a unix socket, as the NBD project's doc/uri.md has them.
 */
import { StorageError } from '../errors.ts';
import { MAX_STRING_BYTES } from './nbd-protocol.ts';

/** The port that is NBD's. */
const DEFAULT_PORT = 10809;
/** What a unix socket's address has room for. */
const MAX_SOCKET_PATH_BYTES = 107;

/** See the module's comment. */
export interface NbdAddress {
  /** As it was given, for people. */
  readonly uri: string;
  readonly tls: boolean;
  /** Of TCP; absent: a unix socket. */
  readonly host?: string;
  readonly port?: number;
  readonly socketPath?: string;
  /** Empty: the server's default. */
  readonly exportName: string;
  /** `tls-certificates` of the URI: a folder with ca-cert.pem, client-cert.pem, client-key.pem. */
  readonly tlsFolder?: string;
  /** `tls-hostname` of the URI. */
  readonly tlsHostname?: string;
}

const QUERIES = ['socket', 'tls-certificates', 'tls-hostname'];
/** Scheme, authority, path, query: not by `URL`, which makes another path of `a/../b`. */
const PARTS = /^(nbds?)(\+unix)?:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;

type Fail = (problem: string) => never;

/** Read a URI. Throws a `StorageError` DISK_OPTION that says what is wrong with it. */
export function parseNbdUri(uri: string): NbdAddress {
  const fail: Fail = (problem) => {
    throw new StorageError('DISK_OPTION', `nbd: "${uri}": ${problem}`);
  };
  const parts = PARTS.exec(uri);
  if (parts === null) {
    return fail('expected nbd://host/export, or nbd+unix:///export?socket=/path');
  }
  const [, scheme, unix, authority, path = '', queryText = ''] = parts;
  if (authority.includes('@')) fail('a user (for TLS with keys in advance) is not supported');
  const query = queryOf(queryText, fail);
  const { socket, 'tls-certificates': tlsFolder, 'tls-hostname': tlsHostname } = query;
  const common = {
    uri,
    tls: scheme === 'nbds',
    exportName: exportNameOf(path, fail),
    ...(tlsFolder === undefined ? {} : { tlsFolder }),
    ...(tlsHostname === undefined ? {} : { tlsHostname }),
  };
  if (unix === undefined) {
    if (socket !== undefined) fail('"socket" is for nbd+unix: and nbds+unix:');
    return { ...common, ...hostOf(authority, fail) };
  }
  if (authority !== '') fail('there is a host: expected three slashes, nbd+unix:///');
  return { ...common, socketPath: socketPathOf(socket, fail) };
}

function queryOf(text: string, fail: Fail): Readonly<Record<string, string | undefined>> {
  const found: Record<string, string> = {};
  for (const pair of text.split('&').filter((each) => each !== '')) {
    const [name, ...values] = pair.split('=');
    if (!QUERIES.includes(name)) fail(`unknown "${name}"; known: ${QUERIES.join(', ')}`);
    if (found[name] !== undefined) fail(`"${name}" is given twice`);
    const value = decoded(values.join('='), fail);
    if (value === '') fail(`"${name}" is empty`);
    found[name] = value;
  }
  return found;
}

function socketPathOf(path: string | undefined, fail: Fail): string {
  if (path === undefined) return fail('expected ?socket= with the path of a unix socket');
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    fail(`the socket's path has ${bytes} bytes: expected at most ${MAX_SOCKET_PATH_BYTES}`);
  }
  return path;
}

function hostOf(authority: string, fail: Fail): { host: string; port: number } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d+))?$/.exec(authority);
  if (match === null) return fail('expected a host, or host:port');
  // An IPv6 address is in brackets there.
  const host = match[1].replace(/^\[(.*)\]$/, '$1');
  const port = match[2] === undefined ? DEFAULT_PORT : Number(match[2]);
  if (port < 1 || port > 65535) fail(`the port is ${port}: expected 1 to 65535`);
  return { host, port };
}

/** All after the first slash: a name may have slashes, even at its beginning. */
function exportNameOf(path: string, fail: Fail): string {
  const name = decoded(path, fail);
  const bytes = Buffer.byteLength(name);
  if (bytes > MAX_STRING_BYTES) {
    fail(`its export name has ${bytes} bytes: expected at most ${MAX_STRING_BYTES}`);
  }
  return name;
}

function decoded(text: string, fail: Fail): string {
  let plain: string;
  try {
    plain = decodeURIComponent(text);
  } catch {
    return fail(`"${text}" is no text in UTF-8, percent-encoded`);
  }
  return plain.includes('\0') ? fail('there is a NUL in it') : plain;
}
