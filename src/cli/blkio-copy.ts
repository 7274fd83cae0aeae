#!/usr/bin/env node
/**
 * `blkio-copy`: a block device or file copied to another, as libblkio's program of that name does,
 * with many requests under way, and holes that stay holes.
 *
 * Exit codes: 0, 1 if something cannot be read or written or `--verify` finds a difference, 2 for a
 * wrong command line.
 */
import {
  type BlkioCopyConfig,
  configOf,
  createCommand,
  separateDevices,
} from './blkio-copy-options.ts';
import { openInput, openOutput } from './copy/copy-endpoint.ts';
import { CopyJob } from './copy/copy-job.ts';
import { CopyProgress } from './copy/copy-progress.ts';
import { failFor, parseOrExit } from './program.ts';

const PROGRAM = 'blkio-copy';

/** Do a phase of the copy, and show how far it is. */
async function shown(
  phase: string,
  job: CopyJob,
  isShown: boolean,
  body: () => Promise<void>,
): Promise<void> {
  if (!isShown) return body();
  const write = (text: string): void => void process.stderr.write(text);
  const progress = new CopyProgress(phase, job.sizeBytes, () => job.doneBytes, write);
  try {
    await body();
    progress.finish();
  } catch (error) {
    progress.abandon();
    throw error;
  }
}

async function run(config: BlkioCopyConfig): Promise<void> {
  const input = await openInput(config.input);
  const output = await openOutput(config.output, input.capacityBytes);
  const { depth, blockBytes, progress, targetIsZero } = config;
  const zeroFrom = targetIsZero ? 0 : output.zeroFrom;
  const job = new CopyJob({ input, output: { ...output, zeroFrom }, depth, blockBytes });
  const isShown = progress === 'auto' ? process.stderr.isTTY : progress === 'on';
  await job.start();
  await shown('copied', job, isShown, () => job.copy());
  if (config.verify) await shown('verified', job, isShown, () => job.verify());
  input.device.close();
  output.device.close();
}

const config = parseOrExit(createCommand, configOf, separateDevices(process.argv.slice(2)));
try {
  await run(config);
  process.exit(0);
} catch (error) {
  // What is under way ends with the program.
  failFor(PROGRAM, error);
}
