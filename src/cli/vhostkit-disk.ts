#!/usr/bin/env node
/**
 * `vhostkit-disk`: overlays are committed, disks scanned, snapshots taken, traces replayed.
 *
 * Exit codes: 0, 1 if it cannot be done, or if a scan or a replay finds something, 2 for a wrong
 * command line.
 */
import {
  type Disk,
  type OpenOptions,
  openDisk,
  parseDisk,
  StorageError,
} from '../storage/index.ts';
import {
  commitOverlay,
  dropSnapshot,
  listSnapshots,
  type ReplayReport,
  replayTrace,
  rollBack,
  scanChecksums,
  takeSnapshot,
} from '../storage/tools.ts';
import { useAndClose } from '../sys/index.ts';
import { CopyProgress, sizeText } from './copy/copy-progress.ts';
import { EXIT_FAILURE, EXIT_USAGE, fail, failFor, parseOrExit, UsageError } from './program.ts';
import { createCommand, type DiskToolConfig } from './vhostkit-disk-options.ts';

const PROGRAM = 'vhostkit-disk';
/** Lines about single places; more is no help. */
const MAX_LINES = 20;

function parse(argv: readonly string[]): DiskToolConfig {
  if (argv.length === 0) fail(PROGRAM, 'give a command (see --help)', EXIT_USAGE);
  if (argv.length === 1 && argv[0] === 'snapshot') {
    fail(PROGRAM, 'snapshot: give a command: take, list, drop or roll-back', EXIT_USAGE);
  }
  let chosen: DiskToolConfig | undefined;
  const create = (version: string): ReturnType<typeof createCommand> =>
    createCommand(version, (config) => {
      chosen = config;
    });
  return parseOrExit(
    create,
    () => {
      if (chosen === undefined) throw new UsageError('give a command');
      return chosen;
    },
    argv,
  );
}

/** Do something, and show how far it is if somebody looks. */
async function shown<Result>(
  phase: string,
  body: (onProgress: (doneBytes: number, totalBytes: number) => void) => Promise<Result>,
): Promise<Result> {
  let done = 0;
  let progress: CopyProgress | undefined;
  const write = (text: string): void => void process.stderr.write(text);
  try {
    const result = await body((doneBytes, totalBytes) => {
      done = doneBytes;
      if (process.stderr.isTTY) progress ??= new CopyProgress(phase, totalBytes, () => done, write);
    });
    progress?.finish();
    return result;
  } catch (error) {
    progress?.abandon();
    throw error;
  }
}

/** Open a disk, use it, and close it: what it has in memory is written then. */
async function withDisk(
  text: string,
  options: OpenOptions,
  use: (disk: Disk) => Promise<number>,
): Promise<number> {
  const disk = await openDisk(parseDisk(text), options);
  return useAndClose([disk], () => use(disk));
}

/** Each returns the exit code. */
async function commit(text: string): Promise<number> {
  const bytes = await shown('committed', (onProgress) =>
    commitOverlay(parseDisk(text), { onProgress }),
  );
  process.stdout.write(`${sizeText(bytes)} written to the disk below, the overlay is empty\n`);
  return 0;
}

async function scan(text: string): Promise<number> {
  return withDisk(text, {}, async (disk) => {
    const findings = await shown('scanned', (onProgress) => scanChecksums(disk, onProgress));
    const lines = findings.map(({ offset, length, error }) => {
      const isCorrupt = (error as { code?: unknown }).code === 'EILSEQ';
      return isCorrupt ? `${length} bytes at offset ${offset} are corrupt` : error.message;
    });
    for (const line of lines.slice(0, MAX_LINES)) process.stdout.write(`${line}\n`);
    const more = lines.length > MAX_LINES ? `, ${MAX_LINES} of them above` : '';
    process.stdout.write(`${lines.length} blocks are corrupt or cannot be read${more}\n`);
    return lines.length === 0 ? 0 : EXIT_FAILURE;
  });
}

async function replay(config: DiskToolConfig & { command: 'replay' }): Promise<number> {
  const { trace, disk, pace, depth, mayWrite } = config;
  const options = { pace, mayWrite, ...(depth === undefined ? {} : { depth }) };
  const report = await replayTrace(trace, parseDisk(disk), options);
  process.stdout.write(reportText(report));
  return report.otherResults.length === 0 ? 0 : EXIT_FAILURE;
}

function reportText(report: ReplayReport): string {
  const { requests, missing, otherResults, latency, recordedLatency } = report;
  const row = (name: string, seconds: number, { p50, p99, max }: typeof latency): string =>
    `${name}: ${seconds.toFixed(3)} s, durations p50 ${p50} us, p99 ${p99} us, max ${max} us`;
  const lines = [
    `${requests} requests, ${missing} missing in the trace`,
    row('now', report.seconds, latency),
    row('trace', report.recordedSeconds, recordedLatency),
    ...otherResults.slice(0, MAX_LINES).map(({ record, result }) => {
      const { n, op, offset, length } = record;
      return `request ${n}: ${op} of ${length} bytes at ${offset}: ${result}, was ${record.result}`;
    }),
    `${otherResults.length} have ended otherwise than in the trace`,
  ];
  return lines.map((line) => `${line}\n`).join('');
}

async function snapshot(config: DiskToolConfig & { command: 'snapshot' }): Promise<number> {
  const { action, name = '' } = config;
  return withDisk(config.disk, { readOnly: action === 'list' }, async (disk) => {
    if (action === 'take') await takeSnapshot(disk, name);
    else if (action === 'drop') await dropSnapshot(disk, name);
    else if (action === 'roll-back') await rollBack(disk, name);
    else {
      for (const { name, takenAt, keptBytes } of listSnapshots(disk)) {
        process.stdout.write(`${name}\t${takenAt.toISOString()}\t${sizeText(keptBytes)}\n`);
      }
    }
    return 0;
  });
}

function run(config: DiskToolConfig): Promise<number> {
  if (config.command === 'commit') return commit(config.disk);
  if (config.command === 'scan') return scan(config.disk);
  if (config.command === 'snapshot') return snapshot(config);
  return replay(config);
}

const config = parse(process.argv.slice(2));
try {
  process.exit(await run(config));
} catch (error) {
  if (error instanceof StorageError) fail(PROGRAM, error.message, EXIT_FAILURE);
  failFor(PROGRAM, error);
}
