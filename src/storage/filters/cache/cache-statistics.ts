/** What a cache has been good for. */

/** Bytes since it was opened; and as of now. */
export interface CacheStatistics {
  /** Read by requests; of these, found in memory. */
  readonly readBytes: number;
  readonly hitBytes: number;
  /** Read from the disk below, reading ahead included. */
  readonly fetchedBytes: number;
  /** Written to the disk below by write-back. */
  readonly writtenBackBytes: number;
  /** Now: memory in use, and blocks that are to be written. */
  readonly cachedBytes: number;
  readonly dirtyBlocks: number;
}

const MEBIBYTE = 2 ** 20;

/** One line for the log. */
export function statisticsLine(statistics: CacheStatistics): string {
  const { readBytes, hitBytes, fetchedBytes, writtenBackBytes, cachedBytes } = statistics;
  const ratio = readBytes === 0 ? 'nothing was read' : `${percent(hitBytes, readBytes)} % hits`;
  const amounts = [
    `${mebibytes(readBytes)} MiB read`,
    `${mebibytes(fetchedBytes)} MiB fetched`,
    `${mebibytes(writtenBackBytes)} MiB written back`,
    `${mebibytes(cachedBytes)} MiB in memory`,
  ];
  return `${ratio}, ${amounts.join(', ')}`;
}

function percent(part: number, whole: number): string {
  return ((part * 100) / whole).toFixed(1);
}

function mebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(1);
}
