/** What a file on a web server is known by, and whether an answer is about the same one. */
import type { HttpAnswer } from './http-client.ts';

/** See the module's comment. */
export interface FileIdentity {
  readonly sizeBytes: number;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  /** For If-Range: a strong ETag, or else the date. Absent: only the size is compared. */
  readonly validator: string | undefined;
}

const CONTENT_RANGE = /^bytes (\d+)-(\d+)\/(\d+|\*)$/;

/** What the answer to a request for one byte says. Throws a sentence for people. */
export function identityOf({ message, status }: HttpAnswer): FileIdentity {
  const { headers } = message;
  if (status === 200 && headers['content-length'] !== '0') {
    throw new Error(
      'the server does not do range requests (it answers 200 with all of the file): ' +
        'use another server, or download the file',
    );
  }
  const isEmpty = status === 200 || (status === 416 && headers['content-range'] === 'bytes */0');
  if (isEmpty) return identity(0, headers);
  if (status !== 206) {
    throw new Error(`the server answers ${status} ${message.statusMessage ?? ''}`.trimEnd());
  }
  const range = CONTENT_RANGE.exec(headers['content-range'] ?? '');
  const sizeBytes = Number(range?.[3]);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1) {
    throw new Error('the server does not say how large the file is');
  }
  // One byte was asked for. Busybox takes that for all of the file, which does no harm here.
  if (range?.[1] !== '0') throw new Error('the server sends another range than it was asked for');
  const encoding = encodingOf({ message });
  if (encoding !== undefined) throw new Error(encoding);
  return identity(sizeBytes, headers);
}

function identity(sizeBytes: number, headers: HttpAnswer['message']['headers']): FileIdentity {
  const { etag, 'last-modified': lastModified } = headers;
  const isStrong = etag?.startsWith('"') === true;
  return { sizeBytes, etag, lastModified, validator: isStrong ? etag : lastModified };
}

/** Ranges are of what is sent: of something compressed they would be of no use. */
function encodingOf({ message }: Pick<HttpAnswer, 'message'>): string | undefined {
  const encoding = message.headers['content-encoding'];
  if (encoding === undefined || encoding === 'identity') return undefined;
  return `the server sends the file encoded (${encoding.slice(0, 40)}), though asked not to`;
}

/** What an answer of another file says; `undefined`: nothing speaks against its being the same. */
export function changeOf({ message }: HttpAnswer, known: FileIdentity): string | undefined {
  const { etag, 'last-modified': lastModified, 'content-range': range } = message.headers;
  const changed = (what: string, was: unknown, is: unknown): string =>
    `the file has changed on the server: its ${what} was ${String(was)} and is ${String(is)}`;
  const size = CONTENT_RANGE.exec(range ?? '')?.[3] ?? '*';
  if (size !== '*' && Number(size) !== known.sizeBytes) {
    return changed('size', known.sizeBytes, size);
  }
  if (known.etag !== undefined) {
    return etag === undefined || etag === known.etag
      ? undefined
      : changed('ETag', known.etag, etag);
  }
  const { lastModified: was } = known;
  const isSame = was === undefined || lastModified === undefined || lastModified === was;
  return isSame ? undefined : changed('date', was, lastModified);
}

/**
 * The length of the range of a 206 answer, which begins at `start` and does not go beyond `end`.
 * Throws a sentence for people.
 */
export function rangeLength(answer: HttpAnswer, start: number, end: number): number {
  const encoding = encodingOf(answer);
  if (encoding !== undefined) throw new Error(encoding);
  const range = CONTENT_RANGE.exec(answer.message.headers['content-range'] ?? '');
  if (range === null) throw new Error('the server does not say which range it sends');
  const [, first, last] = range;
  const length = Number(last) + 1 - start;
  if (Number(first) === start && length >= 1 && start + length <= end) return length;
  throw new Error('the server sends another range than it was asked for');
}
