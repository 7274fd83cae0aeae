/**
 * A run of the fuzzer: the corpus, then case after case until it is time to end. What goes wrong is
 * tried again on a new server, made as small as it gets, and written down.
 */
import type { FuzzCase } from './action.ts';
import { type AttackCounts, noCounts } from './attack-place.ts';
import { type NamedCase, writeCase } from './corpus.ts';
import { type Bench, runCase, triesUntil } from './runner.ts';
import { smallerCase } from './smaller-case.ts';
import { IMPATIENT, PATIENT, type Patience, type Target, type Violation } from './target.ts';

/** Something that was found. */
export interface Finding {
  readonly violation: Violation;
  /** Where the case that shows it is. */
  readonly path: string;
  /** Whether it was seen again on a new server. */
  readonly isReproduced: boolean;
  readonly fuzzCase: FuzzCase;
}

/** What a run has done. */
export interface Tally extends AttackCounts {
  cases: number;
  readonly findings: Finding[];
}

export interface CampaignOptions {
  readonly bench: Bench;
  /** Where findings go. */
  readonly folder: string;
  /** How long to try to make one smaller. */
  readonly minimiseMs: number;
  /** How long to look before something is said to be wrong. */
  readonly patience?: Patience;
  /** Told what happens, a line at a time. */
  readonly say: (line: string) => void;
}

/** After so many cases on a server, what takes time to see is looked at, too. */
const CASES_PER_INSPECTION = 25;
const TRIES = 3;

/** See the module's comment. */
export class Campaign {
  readonly tally: Tally = { ...noCounts(), cases: 0, findings: [] };
  readonly #options: CampaignOptions;
  /** Cases that each server has had since it was last inspected. */
  readonly #since = new Map<Target, FuzzCase[]>();

  constructor(options: CampaignOptions) {
    this.#options = options;
  }

  get #patience(): Patience {
    return this.#options.patience ?? PATIENT;
  }

  /** Run one case. */
  async run({ name, fuzzCase }: NamedCase): Promise<void> {
    const { bench } = this.#options;
    const before = await bench.servers.get(fuzzCase.serverOptions);
    const since = this.#since.get(before) ?? [];
    this.#since.set(before, since);
    since.push(fuzzCase);
    const isInspection = since.length >= CASES_PER_INSPECTION;
    const look = { patience: this.#patience, isInspection };
    const { violation, log } = await runCase(bench, fuzzCase, look, this.tally);
    this.tally.cases += 1;
    if (isInspection || violation !== undefined) this.#since.delete(before);
    if (violation !== undefined) await this.#investigate(name, violation, since, log);
  }

  /** Find the case that is to blame, and what of it. */
  async #investigate(
    name: string,
    violation: Violation,
    since: readonly FuzzCase[],
    log: readonly string[],
  ): Promise<void> {
    const { bench, say, minimiseMs } = this.#options;
    const { kind } = violation;
    say(`${name}: ${kind}: ${violation.text}`);
    const last = since[since.length - 1];
    const together: FuzzCase = { ...last, actions: since.flatMap(({ actions }) => actions) };
    const suspects = [...new Set([last, ...since.toReversed(), together])];
    for (const suspect of suspects) {
      const tries = suspect === last || suspect === together ? TRIES : 1;
      const needed = await triesUntil(bench, suspect, kind, tries, IMPATIENT);
      if (needed === undefined) continue;
      say('it happens again: making the case smaller');
      const smaller = await smallerCase(suspect, {
        ...{ bench, kind, needed, limitMs: minimiseMs, patience: this.#patience },
      });
      this.#record(smaller ?? suspect, violation, log, smaller !== undefined);
      return;
    }
    this.#record(together, violation, log, false);
  }

  #record(
    fuzzCase: FuzzCase,
    violation: Violation,
    log: readonly string[],
    isReproduced: boolean,
  ): void {
    const { folder, say } = this.#options;
    const number = this.tally.findings.length + 1;
    const name = `${new Date().toISOString().replace(/[:.]/g, '-')}-${violation.kind.replace(' ', '-')}-${number}`;
    const remarks = [
      ...fuzzCase.remarks,
      ...`${violation.kind}: ${violation.text}`.split('\n'),
      ...(isReproduced ? [] : ['It did not happen again: these are all cases the server has had.']),
      'The last the server said:',
      ...log.slice(-12),
    ];
    const path = writeCase(folder, name, { ...fuzzCase, remarks });
    this.tally.findings.push({ violation, path, isReproduced, fuzzCase });
    say(`${isReproduced ? 'found' : 'seen once'}: ${violation.kind}; to see it again:`);
    say(`  npm run fuzz -- --replay ${path}`);
  }
}
