/**
 * What a guest reports: the protocol on its second serial port, and what becomes of it.
 *
 * The port carries one line per event, each written by the guest's shell (see `guest-script.ts`):
 *
 *     up                  the kernel has started init
 *     ok NAME             a check passed
 *     not ok NAME DETAIL  a check failed
 *     fact NAME VALUE     something measured
 *     host NAME           the guest waits until the host has done a step
 *     exit STATUS         the script has ended
 *
 * Empty lines mean nothing. Firmware shows its messages on all serial ports: on a machine that boots
 * by it, everything before `up` is ignored.
 *
 * A port of its own, because on the console messages of the kernel cut lines in two.
 */
import assert from 'node:assert/strict';
import type { MachineStart } from './guest-options.ts';

/** One check of a guest's script. */
export interface GuestCheck {
  readonly name: string;
  readonly ok: boolean;
  /** Exit status and last output of a check that failed; otherwise empty. */
  readonly detail: string;
}

/** Everything known about a guest that has powered off. */
export interface GuestReport {
  /** In the order in which the guest ran them. */
  readonly checks: readonly GuestCheck[];
  readonly facts: ReadonlyMap<string, string>;
  /** Exit status of the script. */
  readonly exitStatus: number;
  /** The kernel's messages, the script's output, and its reports once more. */
  readonly console: string;
  readonly accelerator: 'kvm' | 'tcg';
  /** From the start of QEMU to the first process in the guest. */
  readonly bootMs: number;
  /** From the start of QEMU to its end. */
  readonly totalMs: number;
}

/** Lines of the console shown with a failure. */
const TAIL_LINES = 60;

/** Collects the lines of the report port, which arrive in pieces of any size. */
export class ReportReader {
  readonly checks: GuestCheck[] = [];
  readonly facts: Map<string, string> = new Map();
  /** True from the guest's first line on. */
  up = false;
  /** Exit status of the script once it has ended. */
  exitStatus: number | undefined;
  #rest = '';
  readonly #start: MachineStart['kind'];

  /** @param start - what the machine starts with; default: a kernel. */
  constructor(start: MachineStart['kind'] = 'kernel') {
    this.#start = start;
  }

  /** Take in what arrived; returns the steps for which the guest now waits (at most one). */
  push(text: string): string[] {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    return lines.flatMap((line) => this.#take(line.trimEnd()));
  }

  #take(line: string): string[] {
    if (line === '' || (this.#start === 'firmware' && !this.up && line !== 'up')) return [];
    const [, event, name = '', value = ''] =
      /^(up|ok|not ok|fact|host|exit)(?: (\S+))?(?: (.*))?$/.exec(line) ?? [];
    switch (event) {
      case 'up':
        this.up = true;
        return [];
      case 'ok':
      case 'not ok':
        this.checks.push({ name, ok: event === 'ok', detail: value });
        return [];
      case 'fact':
        this.facts.set(name, value);
        return [];
      case 'host':
        return [name];
      case 'exit':
        this.exitStatus = Number(name);
        return [];
      default:
        // Nothing but our own init writes here: a broken line is a bug that must not be ignored.
        this.checks.push({ name: 'report-port', ok: false, detail: `unknown line: ${line}` });
        return [];
    }
  }
}

/** The last lines of a console. */
export function consoleTail(console: string): string {
  return console.trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
}

/**
 * Assert that a guest ran its script to the end, that it ran exactly the expected checks, each
 * once and in any order, and that all of them passed. The error shows the console's tail.
 */
export function assertChecks(report: GuestReport, expected: readonly string[]): void {
  const failed = report.checks
    .filter(({ ok }) => !ok)
    .map(({ name, detail }) => `not ok ${name} ${detail}`);
  const names = report.checks.map(({ name }) => name);
  const missing = expected
    .filter((name) => !names.includes(name))
    .map((name) => `missing: ${name}`);
  const surplus = names
    .filter((name, index) => !expected.includes(name) || names.indexOf(name) !== index)
    .map((name) => `not expected, or reported twice: ${name}`);
  const status = report.exitStatus === 0 ? [] : [`the script ended with ${report.exitStatus}`];
  const problems = [...failed, ...missing, ...surplus, ...status];
  if (problems.length === 0) return;
  assert.fail(`${problems.join('\n')}\nguest console:\n${consoleTail(report.console)}`);
}
