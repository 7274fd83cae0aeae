/**
 * A seccomp policy as a BPF program over struct seccomp_data { int nr; u32 arch; u64 ip;
 * u64 args[6] } (include/uapi/linux/seccomp.h).
 *
 * The number is found by bisection, in some eight comparisons. The kernel (from 5.11 on) finds out
 * which numbers are allowed whatever their arguments, and does not run the program for those at
 * all: the data path pays next to nothing.
 */
import { Errno } from '../errors.ts';
import { BpfProgram, type Label } from './bpf-program.ts';
import { NEWEST_CALL } from './newer-system-calls.ts';
import type { Architecture, Condition, Rule } from './seccomp-policy.ts';

/** What a filter may return: SECCOMP_RET_*. */
export const Verdict = {
  ALLOW: 0x7fff0000,
  ERRNO: 0x00050000,
  KILL_PROCESS: 0x80000000,
} as const;

/** Byte offsets in struct seccomp_data. */
const NUMBER_AT = 0;
const ARCHITECTURE_AT = 4;
const ARGUMENTS_AT = 16;

/** AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64: include/uapi/linux/audit.h. */
export const AUDIT_ARCHITECTURES: Readonly<Record<Architecture, number>> = {
  x64: 0xc000003e,
  arm64: 0xc00000b7,
};

/** Bit of the numbers of x32, which have a table of their own: __X32_SYSCALL_BIT. */
const X32_BIT = 0x40000000;

/** Where a rule's instructions begin. */
type Placed = readonly [rule: Rule, label: Label];

/** Numbers from `start` to the next run's have the same rule. */
interface Run {
  readonly start: number;
  readonly target: Label;
}

/** Assemble the program for the rules by number. */
export function seccompProgram(
  architecture: Architecture,
  rules: ReadonlyMap<number, Rule>,
): Uint8Array {
  const program = new BpfProgram();
  const [allow, refuse, absent, kill] = ['allow', 'refuse', 'absent', 'kill'].map(Symbol);
  const placed: Placed[] = [];
  const targetOf = (rule: Rule | undefined): Label => {
    if (rule === undefined) return allow;
    if (rule.kind === 'refuse') return refuse;
    if (rule.kind === 'absent') return absent;
    const label = Symbol(rule.kind);
    placed.push([rule, label]);
    return label;
  };
  // Another architecture's numbers mean other calls: nobody gets there by accident.
  program.load(ARCHITECTURE_AT);
  program.gotoIfNotEqual(AUDIT_ARCHITECTURES[architecture], kill);
  program.load(NUMBER_AT);
  if (architecture === 'x64') program.gotoIfAtLeast(X32_BIT, kill);
  program.gotoIfAtLeast(NEWEST_CALL + 1, absent);
  bisect(program, runsOf(rules, targetOf));
  for (const [rule, label] of placed) {
    program.mark(label);
    examine(program, rule, allow, refuse);
  }
  for (const [label, verdict] of [
    [allow, Verdict.ALLOW],
    [refuse, Verdict.ERRNO | Errno.EPERM],
    [absent, Verdict.ERRNO | Errno.ENOSYS],
    [kill, Verdict.KILL_PROCESS],
  ] as const) {
    program.mark(label);
    program.return(verdict);
  }
  return program.assemble();
}

function runsOf(
  rules: ReadonlyMap<number, Rule>,
  targetOf: (rule: Rule | undefined) => Label,
): Run[] {
  const runs: Run[] = [];
  for (let number = 0; number <= NEWEST_CALL; number++) {
    const target = targetOf(rules.get(number));
    if (runs.at(-1)?.target !== target) runs.push({ start: number, target });
  }
  return runs;
}

/** Go where the run goes that the loaded number is in. */
function bisect(program: BpfProgram, runs: readonly Run[]): void {
  if (runs.length === 1) {
    program.goto(runs[0].target);
    return;
  }
  const middle = runs.length >> 1;
  const upper = Symbol('upper');
  program.gotoIfAtLeast(runs[middle].start, upper);
  bisect(program, runs.slice(0, middle));
  program.mark(upper);
  bisect(program, runs.slice(middle));
}

/** Decide by the arguments. */
function examine(program: BpfProgram, rule: Rule, allow: Label, refuse: Label): void {
  if (rule.kind === 'allow-if') {
    for (const condition of rule.all) {
      load(program, condition);
      program.gotoIfNotEqual(condition.equals >>> 0, refuse);
    }
    program.goto(allow);
  } else if (rule.kind === 'refuse-if') {
    for (const condition of rule.any) {
      load(program, condition);
      program.gotoIfEqual(condition.equals >>> 0, refuse);
    }
    program.goto(allow);
  }
}

function load(program: BpfProgram, { argument, half, mask }: Condition): void {
  program.load(ARGUMENTS_AT + argument * 8 + (half === 'high' ? 4 : 0));
  if (mask !== undefined) program.and(mask);
}
