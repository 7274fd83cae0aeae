/** QEMU's programs for images, to make them and to judge them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { findProgram } from '../../tools/guest/programs.ts';

const TIMEOUT_MS = 60_000;

/** Why there are no programs for images here, with what to install; undefined if there are. */
export function qemuImgRequirements(): string | undefined {
  for (const program of ['qemu-img', 'qemu-io']) {
    if (findProgram(program) === undefined) {
      return `${program} is missing; install it: apt-get install qemu-utils`;
    }
  }
  return undefined;
}

function run(program: string, args: readonly string[]): { status: number; output: string } {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });
  if (error !== undefined) throw error;
  return { status: status ?? -1, output: `${stdout}${stderr}` };
}

/** Run `qemu-img`; what it prints. Fails unless it succeeds. */
export function qemuImg(...args: string[]): string {
  const { status, output } = run('qemu-img', args);
  assert.equal(status, 0, `qemu-img ${args.join(' ')}: ${output}`);
  return output;
}

/** Run commands of `qemu-io` on a qcow2 image; what it prints. Fails unless all of them succeed. */
export function qemuIo(path: string, ...commands: string[]): string {
  const { status, output } = run('qemu-io', [
    ...['-f', 'qcow2'],
    ...commands.flatMap((command) => ['-c', command]),
    path,
  ]);
  assert.ok(status === 0 && !/failed|error/i.test(output), `qemu-io: ${output}`);
  return output;
}

/** What `qemu-img check` finds in an image. */
export interface CheckResult {
  readonly corruptions: number;
  readonly leaks: number;
  readonly errors: number;
  readonly output: string;
}

export function checkImage(path: string): CheckResult {
  const { output } = run('qemu-img', ['check', '-f', 'qcow2', '--output=json', path]);
  const text = output.slice(output.indexOf('{'), output.lastIndexOf('}') + 1);
  const found = JSON.parse(text) as Record<string, number | undefined>;
  return {
    corruptions: found.corruptions ?? 0,
    leaks: found.leaks ?? 0,
    errors: found['check-errors'] ?? 0,
    output,
  };
}

/** Fails unless `qemu-img check` has nothing to say. */
export function assertClean(path: string): void {
  const { corruptions, leaks, errors, output } = checkImage(path);
  assert.deepEqual({ corruptions, leaks, errors }, { corruptions: 0, leaks: 0, errors: 0 }, output);
}
