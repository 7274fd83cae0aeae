/** Opens the kind `http`: finds out what the file is, and makes a disk of it. */
import { readFileSync } from 'node:fs';
import type { Disk } from '../disk.ts';
import type { HttpParameters } from '../disks/http.ts';
import { StorageError } from '../errors.ts';
import { lengthOf, partOf } from '../object/buffer-pieces.ts';
import type { DiskObject } from '../object/disk-object.ts';
import { ObjectDisk } from '../object/object-disk.ts';
import type { OpenContext } from '../plan/disk-kind.ts';
import { BlockCache, type BlockSource } from './block-cache.ts';
import { HttpClient } from './http-client.ts';
import { HttpFile } from './http-file.ts';
import { SequentialReads } from './sequential-reads.ts';

const OUTSIDE = 'it reaches a web server over the network';
const SECTOR_BYTES = 512;
const MAX_CONCURRENCY = 256;
const DEFAULT_BLOCK_BYTES = 2 ** 16;
const DEFAULT_CACHE_BYTES = 2 ** 26;
const DEFAULT_READ_AHEAD_BYTES = 2 ** 21;
const DEFAULT_CONNECTIONS = 4;
const DEFAULT_TIMEOUT_SECONDS = 30;
/** Silence on a connection; with a shorter `timeout` that. */
const MAX_IDLE_SECONDS = 10;

/** See the module's comment. Rejects with a `StorageError`. */
export async function openHttp({ parameters }: OpenContext<HttpParameters>): Promise<Disk> {
  const url = checkedUrl(parameters.url);
  const { connections = DEFAULT_CONNECTIONS, timeout = DEFAULT_TIMEOUT_SECONDS } = parameters;
  const client = new HttpClient({
    connections,
    idleMs: Math.min(timeout, MAX_IDLE_SECONDS) * 1000,
    ca: authorities(parameters.tlsCa),
  });
  const shown = shownUrl(url);
  try {
    const file = await HttpFile.open(client, url, timeout * 1000);
    if (file.identity.sizeBytes === 0) {
      throw new StorageError('DISK_EMPTY', `http: ${shown}: the file has no bytes`);
    }
    const object = httpObject(file, parameters, shown);
    return new ObjectDisk(object, { kind: 'http', readOnly: true, needsOutside: OUTSIDE });
  } catch (error) {
    client.close();
    if (error instanceof StorageError) throw error;
    const { message } = error as Error;
    throw new StorageError('DISK_REMOTE', `http: ${shown}: ${message}`, { cause: error });
  }
}

function checkedUrl(given: string): URL {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new StorageError(
    'DISK_OPTION',
    `http: "${given}": expected a URL, http://... or https://...`,
  );
}

/** Without what is secret, for messages. */
function shownUrl(url: URL): string {
  const shown = new URL(url);
  shown.username = '';
  shown.password = '';
  shown.hash = '';
  if (shown.search !== '') shown.search = '?...';
  return shown.href;
}

function authorities(path: string | undefined): Buffer | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    const text = `http: tls-ca: ${(error as Error).message}`;
    throw new StorageError('DISK_OPEN_FAILED', text, { cause: error });
  }
}

function httpObject(file: HttpFile, parameters: HttpParameters, shown: string): DiskObject {
  const { sizeBytes, etag, lastModified } = file.identity;
  const { blockSize = DEFAULT_BLOCK_BYTES, cacheSize = DEFAULT_CACHE_BYTES } = parameters;
  const { readAhead = DEFAULT_READ_AHEAD_BYTES } = parameters;
  const source: BlockSource = {
    sizeBytes,
    read: (offset, length, sink) => file.read(offset, length, sink),
  };
  const cache = new BlockCache(source, blockSize, cacheSize);
  const sequence = new SequentialReads(2 * blockSize, readAhead);
  const readv = (buffers: readonly Uint8Array[], offset: number): void | Promise<void> => {
    const wanted = lengthOf(buffers);
    const there = Math.min(wanted, sizeBytes - offset);
    // What is missing of the last sector.
    if (there < wanted) for (const part of partOf(buffers, there, wanted)) part.fill(0);
    const result = cache.read(buffers, offset, there);
    const next = sequence.note(offset, there);
    if (next !== undefined) cache.prefetch(next.from, next.bytes);
    return result;
  };
  const known = etag !== undefined ? 'ETag' : lastModified !== undefined ? 'date' : 'size';
  return {
    description: `${shown}, ${sizeBytes} bytes, known by its ${known}`,
    sizeBytes: Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES,
    maxConcurrency: MAX_CONCURRENCY,
    read: (buffer, offset) => readv([buffer], offset),
    readv,
    close: () => file.close(),
  };
}
