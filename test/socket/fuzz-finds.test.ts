/** The fuzzer finds what is wrong with a program, and what little of a case it takes. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { Campaign, type Finding } from '../../fuzz/campaign.ts';
import { readCase } from '../../fuzz/corpus.ts';
import { generateCase } from '../../fuzz/generator.ts';
import { Servers } from '../../fuzz/servers.ts';
import { PATIENT, type ViolationKind } from '../../fuzz/target.ts';
import { AttachedHome, createReactor } from '../../src/sys/index.ts';
import { type Fault, faulty } from '../support/faulty-program.ts';

const MAX_CASES = 400;
const MINIMISE_MS = 400_000;
/** The programs are quick, or hang for good. */
const PATIENCE = { ...PATIENT, limitMs: 20_000, closingMs: 1000 };
const SEED = process.env.VHOSTKIT_SEED ?? 'faulty';
/** What is left of a case: connect, two or three messages before the one that counts, that one. */
const FEW_ACTIONS = 7;

/** Run the fuzzer against a program with a fault until it finds something. */
async function findFault(fault: Fault): Promise<{ finding: Finding; text: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-finds-'));
  const { reactor } = createReactor('attached');
  const home = new AttachedHome(reactor);
  await using servers = new Servers(reactor, [faulty(fault)]);
  try {
    const said: string[] = [];
    const say = (line: string): number => said.push(line);
    const options = { folder, minimiseMs: MINIMISE_MS, patience: PATIENCE, say };
    const campaign = new Campaign({ bench: { reactor, servers }, ...options });
    const generator = { seed: SEED, serverOptions: ['--engine=epoll'], isIsolated: false };
    for (let number = 0; number < MAX_CASES; number++) {
      await campaign.run({ name: `case ${number}`, fuzzCase: generateCase(generator, number) });
      const [finding] = campaign.tally.findings;
      if (finding === undefined) continue;
      const { fuzzCase } = readCase(finding.path);
      assert.deepEqual(fuzzCase.actions, finding.fuzzCase.actions, 'what is written is read');
      return { finding, text: said.join('\n') };
    }
    throw new Error(`seed ${SEED}: nothing found in ${MAX_CASES} cases`);
  } finally {
    home.close();
    reactor[Symbol.dispose]();
    rmSync(folder, { recursive: true, force: true });
  }
}

const FAULTS: readonly (readonly [Fault, ViolationKind, essential: RegExp])[] = [
  ['leaks', 'descriptors', /SET_LOG_FD/],
  ['dies', 'ended', /SET_LOG_BASE.*REM_MEM_REG/],
  ['throws', 'alarm', /REM_MEM_REG/],
  ['spins', 'busy', /SET_BACKEND_REQ_FD/],
  ['hangs', 'not served', /SET_LOG_FD/],
  ['writes', 'image', /request/],
  ['keeps a timer', 'wake-ups', /REM_MEM_REG/],
];

suite('the fuzzer finds a program that', () => {
  for (const [fault, kind, essential] of FAULTS) {
    test(fault, async () => {
      const { finding, text } = await findFault(fault);
      assert.equal(finding.violation.kind, kind, text);
      assert.ok(finding.isReproduced, text);
      const left = finding.fuzzCase.actions.map(({ verb, words }) => `${verb} ${words.join(' ')}`);
      assert.match(left.join(', '), essential);
      assert.ok(left.length <= (kind === 'image' ? 25 : FEW_ACTIONS), left.join('\n'));
    });
  }
});
