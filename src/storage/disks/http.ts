/** The kind `http`: a file on a web server, read in ranges. */
import { type DiskKind, DiskPlan } from '../plan/disk-kind.ts';
import { bytes, count, decimal, text } from '../plan/parameter-types.ts';

const DAY_SECONDS = 86_400;

/** See the kind's parameters. */
export interface HttpParameters {
  readonly url: string;
  readonly blockSize?: number;
  readonly cacheSize?: number;
  readonly readAhead?: number;
  readonly connections?: number;
  /** In seconds. */
  readonly timeout?: number;
  readonly tlsCa?: string;
}

/** See the module's comment. */
export const httpKind: DiskKind<HttpParameters> = {
  name: 'http',
  summary: 'a file on a web server that can send ranges, to read only',
  below: 'none',
  primary: 'url',
  parameters: {
    url: { type: text('url'), summary: 'where it is', isRequired: true },
    blockSize: { type: bytes(4096, 2 ** 24), summary: 'what is asked for and cached as one' },
    cacheSize: { type: bytes(2 ** 16, 2 ** 36), summary: 'blocks in memory' },
    readAhead: { type: bytes(0, 2 ** 30), summary: 'how far ahead of sequential reads' },
    connections: { type: count(1, 64), summary: 'to the server' },
    timeout: {
      type: decimal(0.1, DAY_SECONDS, 'seconds'),
      summary: 'of a read, with all it waits for',
    },
    tlsCa: { type: text('path'), summary: 'certificates of authorities to trust' },
  },
  // Its modules are read only if there is one.
  open: async (context) => (await import('../http/open-http.ts')).openHttp(context),
};

/** A file on a web server, read in ranges: `http://host/disk.img`. */
export function http(url: string, parameters: Omit<HttpParameters, 'url'> = {}): DiskPlan {
  return new DiskPlan(httpKind, { ...parameters, url });
}
