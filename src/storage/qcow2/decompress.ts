/** Clusters of qcow2 images decompressed: in threads of Node's pool where it can. */
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import { Decompress as ZstdDecompress } from 'fzstd';
import { Errno, SystemError } from '../../sys/index.ts';
import type { Compression } from './header.ts';
import { zstdFrameBytes } from './zstd-frame.ts';

type Decompress = (bytes: Buffer, options: zlib.ZlibOptions) => Promise<Buffer>;

/** What Node has of late (22.15), and the types of older ones do not know. */
interface ZstdOfNode {
  zstdDecompress?(
    bytes: Buffer,
    options: zlib.ZlibOptions,
    done: (error: Error | null, result: Buffer) => void,
  ): void;
}

const inflateRaw: Decompress = promisify(zlib.inflateRaw);
const { zstdDecompress } = zlib as ZstdOfNode;

async function inflateZstd(bytes: Buffer, clusterBytes: number): Promise<Uint8Array> {
  const frameBytes = zstdFrameBytes(bytes);
  if (frameBytes === undefined) throw new Error('no frame of zstd');
  const frame = bytes.subarray(0, frameBytes);
  if (zstdDecompress === undefined) return inflateZstdHere(frame, clusterBytes);
  return promisify(zstdDecompress)(frame, { maxOutputLength: clusterBytes });
}

/** Block by block: a frame of some bytes may stand for very many. */
function inflateZstdHere(frame: Buffer, clusterBytes: number): Uint8Array {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const stream = new ZstdDecompress((chunk) => {
    bytes += chunk.length;
    if (bytes > clusterBytes) throw new Error('it is larger than a cluster');
    chunks.push(chunk);
  });
  stream.push(frame, true);
  return Buffer.concat(chunks);
}

/**
 * The content of a compressed cluster. Rejects with EIO if it is not what it should be.
 *
 * @param bytes - begin with the compressed cluster; what follows it is ignored.
 */
export async function decompressCluster(
  bytes: Buffer,
  clusterBytes: number,
  compression: Compression,
): Promise<Uint8Array> {
  let content: Uint8Array;
  try {
    content =
      compression === 'zstd'
        ? await inflateZstd(bytes, clusterBytes)
        : await inflateRaw(bytes, {
            maxOutputLength: clusterBytes,
            // The end of the stream is not always marked.
            finishFlush: zlib.constants.Z_SYNC_FLUSH,
          });
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error));
  }
  if (content.length !== clusterBytes) throw wrong(`${content.length} bytes come out`);
  return content;
}

function wrong(what: string): SystemError {
  return new SystemError('decompress', Errno.EIO, what);
}
