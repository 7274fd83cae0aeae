/** The cases of fuzz/corpus: none of them does any harm. Each was a fault once, or could have been. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { readCorpus } from '../../fuzz/corpus.ts';
import { runCase } from '../../fuzz/runner.ts';
import { Servers } from '../../fuzz/servers.ts';
import { PATIENT } from '../../fuzz/target.ts';
import { AttachedHome, createReactor } from '../../src/sys/index.ts';
import { missingEngine } from '../support/reactors.ts';
import { ROOT } from '../support/source-tree.ts';

const LOOK = { patience: PATIENT, isInspection: true };
const ENGINES = ['io_uring', 'epoll'] as const;

suite('the fuzzer’s corpus', () => {
  const { reactor } = createReactor('attached');
  const home = new AttachedHome(reactor);
  const servers = new Servers(reactor);
  after(async () => {
    await servers[Symbol.asyncDispose]();
    home.close();
    reactor[Symbol.dispose]();
  });
  for (const { name, fuzzCase } of readCorpus(join(ROOT, 'fuzz', 'corpus'))) {
    const own = fuzzCase.serverOptions.filter((option) => !option.startsWith('--engine='));
    for (const engine of ENGINES) {
      test(`${name}, ${engine}`, { skip: missingEngine(engine) ?? false }, async () => {
        const serverOptions = [`--engine=${engine}`, ...own];
        const { violation, log } = await runCase(
          { reactor, servers },
          { ...fuzzCase, serverOptions },
          LOOK,
        );
        assert.equal(violation, undefined, [violation?.text, ...log].join('\n'));
      });
    }
  }
});
