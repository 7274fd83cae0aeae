/** Opens the kind `nbd`: connects, and makes a disk of the export. */
import type { Disk } from '../disk.ts';
import type { NbdParameters } from '../disks/nbd.ts';
import { StorageError } from '../errors.ts';
import { ObjectDisk } from '../object/object-disk.ts';
import type { OpenContext } from '../plan/disk-kind.ts';
import { nbdObject } from './nbd-disk.ts';
import { NbdLink } from './nbd-link.ts';
import { tlsOptions } from './nbd-tls.ts';
import { type NbdAddress, parseNbdUri } from './nbd-uri.ts';

const OUTSIDE = 'it reaches an NBD server over the network';
const DEFAULT_CONNECTIONS = 4;
const DEFAULT_RECONNECT_SECONDS = 30;

/** See the module's comment. Rejects with a `StorageError`. */
export async function openNbd({ parameters, options }: OpenContext<NbdParameters>): Promise<Disk> {
  const { uri, connections, reconnect, timeout } = parameters;
  const address = parseNbdUri(uri);
  const files = {
    ca: parameters.tlsCa,
    cert: parameters.tlsCert,
    key: parameters.tlsKey,
    hostname: parameters.tlsHostname,
  };
  if (!address.tls && Object.values(files).some((value) => value !== undefined)) {
    const problem = `nbd: "${uri}": tls parameters are for nbds: and nbds+unix:`;
    throw new StorageError('DISK_OPTION', problem);
  }
  const tls = address.tls ? tlsOptions(address, files) : undefined;
  const settings = {
    ...{ address, tls },
    connections: connections ?? DEFAULT_CONNECTIONS,
    reconnectMs: (reconnect ?? DEFAULT_RECONNECT_SECONDS) * 1000,
    timeoutMs: (timeout ?? 0) * 1000,
  };
  const link = await openLink(settings, address);
  const object = nbdObject(link, describe(address, link));
  try {
    const readOnly = options.readOnly ?? false;
    return new ObjectDisk(object, { kind: 'nbd', readOnly, needsOutside: OUTSIDE });
  } catch (error) {
    await link.close();
    throw error;
  }
}

async function openLink(
  settings: Parameters<typeof NbdLink.open>[0],
  { uri }: NbdAddress,
): Promise<NbdLink> {
  let link: NbdLink;
  try {
    link = await NbdLink.open(settings);
  } catch (error) {
    const text = `nbd: ${uri}: ${(error as Error).message}`;
    throw new StorageError('DISK_REMOTE', text, { cause: error });
  }
  if (link.export.sizeBytes >= link.export.minBlockBytes) return link;
  await link.close();
  throw new StorageError('DISK_EMPTY', `nbd: ${uri}: the export has no bytes`);
}

function describe({ uri, tls }: NbdAddress, link: NbdLink): string {
  const connections = link.connectionCount === 1 ? '' : `, ${link.connectionCount} connections`;
  return `${uri}, ${link.export.sizeBytes} bytes${tls ? ', TLS' : ''}${connections}`;
}
