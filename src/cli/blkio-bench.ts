#!/usr/bin/env node
/**
 * `blkio-bench`: the speed of a block device, measured as libblkio's program of that name does.
 *
 * Exit codes: 0 (also when SIGINT or SIGTERM ended it early), 1 if the device cannot be reached or
 * a request fails, 2 for a wrong command line.
 */
import { exitNow } from '../sys/index.ts';
import { openBenchDevice } from './bench/bench-device.ts';
import { combine, jsonReport, textReport } from './bench/bench-report.ts';
import { BenchThreads } from './bench/bench-threads.ts';
import { type BlkioBenchConfig, configOf, createCommand } from './blkio-bench-options.ts';
import { EXIT_FAILURE, fail, failFor, parseOrExit } from './program.ts';

const PROGRAM = 'blkio-bench';

/** The first signal ends the benchmark, the second the program. */
function stopOnSignal(threads: BenchThreads): void {
  let isStopping = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (isStopping) fail(PROGRAM, `${signal}: requests are still under way`, EXIT_FAILURE);
      isStopping = true;
      threads.stop();
    });
  }
}

async function run({ plan, output }: BlkioBenchConfig): Promise<void> {
  const { blockBytes } = plan.load;
  const threads = new BenchThreads();
  stopOnSignal(threads);
  const plans = await openBenchDevice(plan);
  const lanes = await threads.run(plans);
  const results = lanes.map((own) => combine(own, blockBytes));
  const report = output === 'json' ? jsonReport : textReport;
  process.stdout.write(report(combine(lanes.flat(), blockBytes), results));
}

const config = parseOrExit(createCommand, configOf, process.argv.slice(2));
try {
  await run(config);
  // Not `process.exit`: the threads still have their queues.
  exitNow(0);
} catch (error) {
  failFor(PROGRAM, error);
}
