/** The assembler: what it makes runs as it reads, and wrong jumps are noticed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BpfProgram } from '../../../../src/sys/confinement/bpf-program.ts';
import { runBpf } from '../../../support/bpf-machine.ts';

function verdictOf(program: BpfProgram, number: number): number {
  return runBpf(program.assemble(), { architecture: 0, number }).verdict;
}

test('instructions are struct sock_filter', () => {
  const program = new BpfProgram();
  program.load(4);
  program.return(0x80000001);
  const bytes = [0x20, 0, 0, 0, 4, 0, 0, 0, 0x06, 0, 0, 0, 1, 0, 0, 0x80];
  assert.deepEqual([...program.assemble()], bytes);
});

test('jumps go where their label is, however far that is', () => {
  for (const distance of [0, 1, 254, 255, 256, 1000]) {
    const program = new BpfProgram();
    const target = Symbol('target');
    program.load(0);
    program.gotoIfEqual(7, target);
    for (let filler = 0; filler < distance; filler++) program.load(0);
    program.return(1);
    program.mark(target);
    program.return(2);
    assert.deepEqual([verdictOf(program, 6), verdictOf(program, 7)], [1, 2]);
  }
});

test('comparisons are unsigned, masks apply', () => {
  const program = new BpfProgram();
  const [large, odd] = [Symbol('large'), Symbol('odd')];
  program.load(0);
  program.gotoIfAtLeast(0x80000000, large);
  program.and(1);
  program.gotoIfNotEqual(0, odd);
  program.return(1);
  program.mark(large);
  program.return(2);
  program.mark(odd);
  program.return(3);
  const verdicts = [0, 4, 0x7fffffff, 0x80000000, 0xffffffff].map((n) => verdictOf(program, n));
  assert.deepEqual(verdicts, [1, 1, 3, 2, 2]);
});

test('a jump backwards, to nowhere, or a label in two places is a mistake', () => {
  const backwards = new BpfProgram();
  const label = Symbol('label');
  backwards.mark(label);
  backwards.goto(label);
  assert.throws(() => backwards.assemble(), /leads forward/);
  assert.throws(() => backwards.mark(label), /marks one place/);
  const nowhere = new BpfProgram();
  nowhere.goto(label);
  assert.throws(() => nowhere.assemble(), /leads forward/);
  assert.throws(() => new BpfProgram().assemble(), /program of 0 instructions/);
});
