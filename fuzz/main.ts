/**
 * `npm run fuzz`: hostile front-ends and guests against vhost-user-blk.
 * docs/internals/fuzzing.md says what it does, and how its cases are read.
 *
 * Exit codes: 0 if nothing was found, 1 if something was, 2 for a wrong command line.
 */
import { existsSync, writeSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AttachedHome, createReactor } from '../src/sys/index.ts';
import { CaseError } from './action.ts';
import { Campaign } from './campaign.ts';
import { type NamedCase, readCase, readCorpus } from './corpus.ts';
import { generateCase } from './generator.ts';
import { type FuzzOptions, parseFuzzOptions } from './options.ts';
import { Servers } from './servers.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CORPUS = `${ROOT}fuzz/corpus`;
const FINDINGS = 'fuzz-findings';
const REPORT_MS = 30_000;

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

/** The cases that were asked for, one after the other. */
function* casesOf(options: FuzzOptions): Generator<NamedCase> {
  const { seed, replay, times, cases, isolate } = options;
  if (replay.length > 0) {
    for (let count = 0; count < times; count++) yield* replay.map(readCase);
    return;
  }
  if (options.corpus && existsSync(CORPUS)) yield* readCorpus(CORPUS);
  const generator = { seed, serverOptions: options.serverOption, isIsolated: isolate };
  const endMs = performance.now() + options.seconds * 1000;
  const isOver = (number: number): boolean =>
    cases === undefined ? performance.now() > endMs : number >= cases;
  for (let number = 0; !isOver(number); number++) {
    yield { name: `case ${number}`, fuzzCase: generateCase(generator, number) };
  }
}

function summary({ tally }: Campaign, startedMs: number): string {
  const { cases, messages, requests, kicks, connects, mutations, findings } = tally;
  const seconds = (performance.now() - startedMs) / 1000;
  return [
    `${cases} cases in ${seconds.toFixed(0)} s`,
    ...[`${messages} messages`, `${requests} requests`, `${mutations} changes of memory`],
    ...[`${kicks} kicks`, `${connects} connects`, `${findings.length} findings`],
  ].join(', ');
}

async function main(): Promise<void> {
  const options = parseFuzzOptions(process.argv.slice(2), FINDINGS);
  const { reactor } = createReactor('attached');
  const home = new AttachedHome(reactor);
  const startedMs = performance.now();
  await using servers = new Servers(reactor, [], options.socketPath);
  const campaign = new Campaign({
    bench: { reactor, servers },
    folder: options.findings,
    minimiseMs: options.minimiseSeconds * 1000,
    say,
  });
  let isStopped = false;
  process.once('SIGINT', () => {
    isStopped = true;
  });
  if (options.replay.length === 0) say(`seed ${options.seed}`);
  let reportMs = startedMs + REPORT_MS;
  for (const named of casesOf(options)) {
    if (isStopped) break;
    await campaign.run(named);
    if (performance.now() < reportMs) continue;
    say(summary(campaign, startedMs));
    reportMs = performance.now() + REPORT_MS;
  }
  for (const [name, mib] of servers.residentMib()) say(`${mib.toFixed(0)} MiB: ${name}`);
  say(`seed ${options.seed}: ${summary(campaign, startedMs)}`);
  for (const { violation, path } of campaign.tally.findings) {
    say(`${violation.kind}: ${relative('.', path)}`);
  }
  if (campaign.tally.findings.length > 0) process.exitCode = 1;
  home.close();
}

try {
  await main();
} catch (error) {
  if (!(error instanceof CaseError)) throw error;
  process.stderr.write(`fuzz: ${error.message}\n`);
  process.exitCode = 2;
}
process.exit();
