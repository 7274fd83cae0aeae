/**
 * Runs the tests: `node dist/tools/run-tests.js [options] [group...]`.
 *
 * The groups are the folders of test/. What a machine lacks makes tests skip themselves; they are
 * listed at the end with what to install, and `--forbid-skip` makes each of them a failure.
 */
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';

interface Group {
  readonly name: string;
  /** Files run at once: tests that measure nothing but need much may share the processors. */
  readonly concurrency: number;
}

const CPUS = availableParallelism();
const GROUPS: readonly Group[] = [
  { name: 'tidy', concurrency: CPUS },
  { name: 'unit', concurrency: CPUS },
  { name: 'thorough', concurrency: CPUS },
  { name: 'socket', concurrency: CPUS },
  { name: 'interop', concurrency: 1 },
  { name: 'vm', concurrency: 1 },
];

const LONGEST_REASON = 500;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Compiled test files of a group; only those whose source is there still. */
function testFiles(group: string): string[] {
  const folder = join(ROOT, 'test', group);
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts'))
    .map((path) => join(ROOT, 'dist', 'test', group, path.replace(/\.ts$/, '.js')))
    .sort();
}

/** What a run showed. */
interface Outcome {
  passed: number;
  readonly failed: string[];
  readonly skipped: string[];
}

/** Suites end with an event of their own, which counts as no test. */
function isSuite(details: { readonly type?: string | undefined }): boolean {
  return details.type === 'suite';
}

/** What a test said as it failed, without what the runner puts around it. */
function reasonOf({ cause, message }: Error): string {
  const reason = cause instanceof Error ? cause.message : message;
  return reason.replaceAll(/\s*\n\s*/g, ' ').slice(0, LONGEST_REASON);
}

async function runGroup(group: Group, pattern: RegExp, outcome: Outcome): Promise<void> {
  const files = testFiles(group.name).filter((file) => pattern.test(relative(ROOT, file)));
  if (files.length === 0) return;
  const stream = run({ files, concurrency: group.concurrency });
  stream.on('test:pass', ({ name, skip, details }) => {
    if (skip !== undefined && skip !== false) {
      outcome.skipped.push(`${group.name}: ${name}${skip === true ? '' : `: ${skip}`}`);
    } else if (!isSuite(details)) outcome.passed += 1;
  });
  stream.on('test:fail', ({ name, file, details }) => {
    const place = file === undefined ? group.name : relative(ROOT, file);
    if (!isSuite(details)) outcome.failed.push(`${place}: ${name}: ${reasonOf(details.error)}`);
    process.exitCode = 1;
  });
  const report = stream.compose(new spec());
  for await (const chunk of report) process.stdout.write(String(chunk));
}

/** Tests that need a look, at the end again: of a long run often only that is kept. */
function printTests(verdict: string, lines: readonly string[]): void {
  if (lines.length === 0) return;
  console.log(`\n${lines.length} TESTS ${verdict}:`);
  for (const line of lines) console.log(`  ${line}`);
}

async function main(): Promise<void> {
  const command = new Command('run-tests')
    .description('Run the tests of vhostkit; without groups, all of them.')
    .argument('[groups...]', `some of: ${GROUPS.map(({ name }) => name).join(', ')}`)
    .option('--forbid-skip', 'a test that is skipped is a failure', false)
    .option('--files <pattern>', 'only test files whose path matches', '.')
    .parse();
  const options = command.opts<{ forbidSkip: boolean; files: string }>();
  for (const name of command.args) {
    if (!GROUPS.some((group) => group.name === name)) {
      command.error(`run-tests: no group of tests is called ${name}`, { exitCode: 2 });
    }
  }
  const outcome: Outcome = { passed: 0, failed: [], skipped: [] };
  const startedMs = performance.now();
  for (const group of GROUPS) {
    const isChosen = command.args.length === 0 || command.args.includes(group.name);
    if (isChosen) await runGroup(group, new RegExp(options.files), outcome);
  }
  printTests('FAILED', outcome.failed);
  const skipped = options.forbidSkip ? 'FAILED, because skipping is forbidden' : 'SKIPPED';
  printTests(skipped, outcome.skipped);
  if (options.forbidSkip && outcome.skipped.length > 0) process.exitCode = 1;
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
  console.log(
    `\nNode ${process.version}: ${outcome.passed} passed, ${outcome.failed.length} failed, ` +
      `${outcome.skipped.length} skipped, in ${seconds} s`,
  );
  if (outcome.passed === 0) process.exitCode = 1;
}

await main();
