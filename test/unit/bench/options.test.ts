/** The command line of the benchmark, and the names by which workloads are chosen. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type BenchOptions, parseBenchOptions } from '../../../bench/options.ts';
import { WORKLOADS, workloadName } from '../../../bench/workload.ts';

function parse(...argv: readonly string[]): BenchOptions {
  return parseBenchOptions(argv, '/var/bench');
}

/** What is said on standard error, and the exit code, of a command line that is wrong. */
function complaint(t: TestContext, ...argv: readonly string[]): string {
  let said = '';
  const write = t.mock.method(process.stderr, 'write', (text: string) => {
    said += text;
    return true;
  });
  const exit = t.mock.method(process, 'exit', (code: number) => {
    throw new Error(`exit ${code}`);
  });
  try {
    assert.throws(() => parse(...argv), /exit 1/, argv.join(' '));
  } finally {
    write.mock.restore();
    exit.mock.restore();
  }
  return said;
}

test('without options, all is measured in five rounds', () => {
  assert.deepEqual(parse(), {
    rounds: 5,
    seconds: 1,
    media: /./,
    workloads: /./,
    peers: /./,
    packed: false,
    sizeMib: 512,
    pin: true,
    folder: '/var/bench',
    output: '/var/bench/results.json',
  });
});

test('every option changes what it is about', () => {
  const wanted = ['--rounds=3', '--seconds=0.5', '--media', 'tmpfs|null', '--workloads', ' 32$'];
  const rest = [
    '--peers=qemu',
    '--size-mib',
    '64',
    '--no-pin',
    '--packed',
    '--folder=/x',
    '--output=/y.json',
  ];
  assert.deepEqual(parse(...wanted, ...rest), {
    rounds: 3,
    seconds: 0.5,
    media: /tmpfs|null/,
    workloads: / 32$/,
    peers: /qemu/,
    packed: true,
    sizeMib: 64,
    pin: false,
    folder: '/x',
    output: '/y.json',
  });
});

test('numbers that are none, and patterns that are none, are refused with the option', (t) => {
  for (const option of ['--rounds', '--seconds', '--size-mib']) {
    for (const value of ['0', '-1', 'many', 'Infinity', '']) {
      const said = complaint(t, `${option}=${value}`);
      assert.ok(said.includes(option), said);
      assert.match(said, /must be a positive number/);
    }
  }
  assert.match(complaint(t, '--peers', '('), /must be a regular expression/);
  assert.match(complaint(t, '--round', '3'), /unknown option/);
});

test('each workload has a name of its own, by which it can be chosen', () => {
  const names = WORKLOADS.map(workloadName);
  assert.equal(new Set(names).size, WORKLOADS.length);
  const chosen = (text: string): string[] => {
    const { workloads } = parse('--workloads', text);
    return names.filter((name) => workloads.test(name));
  };
  assert.deepEqual(chosen('randread .* 32$'), ['randread 4k depth 32']);
  assert.deepEqual(chosen('^seq'), ['seqread 128k depth 16', 'seqwrite 128k depth 16']);
  assert.deepEqual(
    chosen('polled'),
    [1, 32, 128].map((depth) => `randread 4k depth ${depth} polled`),
  );
  assert.deepEqual(chosen('queues'), [
    'randread 4k depth 32 x 2 queues',
    'randread 4k depth 128 x 2 queues',
  ]);
});
