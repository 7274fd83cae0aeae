/**
 * One run of QEMU, from its start to its end, with a verdict on how it ended.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { GuestAssets } from '../../tools/guest-assets.ts';
import { type ProcessEnd, spawnTied, type TiedChild } from '../support/tied-process.ts';
import {
  type Accelerator,
  type GuestOptions,
  type GuestTask,
  kernelCommandLine,
  type MachineOptions,
  type MachineStart,
  qemuArguments,
  REPORT_FD,
} from './guest-options.ts';
import { consoleTail, type GuestReport, ReportReader } from './guest-report.ts';
import { initrdLayers } from './guest-script.ts';

/** The emulator for the architecture that guests have. */
export const QEMU = 'qemu-system-x86_64';

const DEFAULT_TIMEOUT_MS = 240_000;

/** A guest that floods its console is of interest for its last words only. */
const MAX_CONSOLE_CHARACTERS = 4 * 1024 * 1024;

/** QEMU's file descriptor of the initrd; the one behind the report port's. */
const INITRD_FD = REPORT_FD + 1;

/**
 * Why there is no report of a guest:
 *
 * - `panic`: the guest's kernel gave up;
 * - `timeout`: the guest did not power off within the time limit;
 * - `no-power-off`: QEMU ended though the guest had not powered off, e.g. by a restart;
 * - `qemu`: QEMU did not start, or ended with an error;
 * - `host-step`: a step of the host failed (see `cause`), or the test has none of that name;
 * - `aborted`: the test's signal.
 */
export type GuestErrorCode =
  | 'panic'
  | 'timeout'
  | 'no-power-off'
  | 'qemu'
  | 'host-step'
  | 'aborted';

/** A guest did not run to its end. The message ends with QEMU's messages and the console's tail. */
export class GuestError extends Error {
  override readonly name = 'GuestError';
  readonly code: GuestErrorCode;
  /** All that the guest printed. */
  readonly console: string;

  constructor(code: GuestErrorCode, message: string, output: GuestOutput, cause?: unknown) {
    const log = output.qemuLog === '' ? '' : `\nqemu: ${output.qemuLog.trimEnd()}`;
    const tail = `\nguest console:\n${consoleTail(output.console)}`;
    super(`${message}${log}${tail}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.console = output.console;
  }
}

interface GuestOutput {
  readonly console: string;
  readonly qemuLog: string;
}

/**
 * Boot a guest, whose kernel QEMU loads, with a given accelerator and wait for its end. Rejects with
 * a `GuestError`.
 */
export async function runGuest(
  options: GuestOptions,
  assets: GuestAssets,
  accelerator: Accelerator,
): Promise<GuestReport> {
  const initrd = openInitrd(options, assets);
  try {
    const start = {
      kind: 'kernel',
      kernelPath: assets.kernelPath,
      initrdPath: `/dev/fd/${INITRD_FD}`,
      commandLine: kernelCommandLine(options),
    } as const;
    return await runMachine(options, start, accelerator, [initrd]);
  } finally {
    closeSync(initrd);
  }
}

/**
 * Start a machine and wait for its end. Rejects with a `GuestError`.
 *
 * @param files - descriptors that QEMU gets as `INITRD_FD` and so on.
 */
export async function runMachine(
  options: MachineOptions,
  start: MachineStart,
  accelerator: Accelerator,
  files: readonly number[] = [],
): Promise<GuestReport> {
  const args = qemuArguments(options, start, accelerator);
  const startMs = performance.now();
  const process = spawnTied(QEMU, args, ['ignore', 'pipe', 'pipe', 'pipe', ...files]);
  const run = new GuestRun(options, process, new ReportReader(start.kind));
  const end = await run.ended();
  return run.report(end, accelerator, startMs);
}

/**
 * The layers of the root in one file. It has no name any more when this returns, so that nothing
 * has to be cleaned up, however this process ends.
 */
function openInitrd(task: GuestTask, assets: GuestAssets): number {
  const path = join(tmpdir(), `guest-initrd-${process.pid}-${performance.now()}`);
  const fd = openSync(path, 'wx+', 0o600);
  rmSync(path);
  for (const layer of initrdLayers(task, assets)) writeAll(fd, layer);
  return fd;
}

function writeAll(fd: number, data: Buffer): void {
  for (let done = 0; done < data.length; ) done += writeSync(fd, data, done);
}

class GuestRun {
  readonly #options: MachineOptions;
  readonly #process: TiedChild;
  readonly #reader: ReportReader;
  readonly #output = { console: '', qemuLog: '' };
  /** Why this side ended the guest, if it did. */
  #stopped: { code: GuestErrorCode; message: string; cause?: unknown } | undefined;
  #upMs: number | undefined;

  constructor(options: MachineOptions, process: TiedChild, reader: ReportReader) {
    this.#options = options;
    this.#process = process;
    this.#reader = reader;
    const { child } = process;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const console = this.#output.console + text.replaceAll('\r', '');
      this.#output.console = console.slice(-MAX_CONSOLE_CHARACTERS);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#output.qemuLog += text;
    });
    const port = child.stdio[REPORT_FD] as Duplex;
    port.setEncoding('utf8').on('data', (text: string) => this.#takeReport(port, text));
    // A guest that is gone needs no answer: the end of the process tells the rest.
    port.on('error', () => {});
    void options.incomingReply?.then((reply) => port.write(`${reply}\n`));
  }

  /** The end of QEMU, which this brings about at the time limit and on abort. */
  async ended(): Promise<ProcessEnd> {
    const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options;
    const onAbort = (): void => this.#stop('aborted', 'the guest was aborted', signal?.reason);
    const timer = setTimeout(
      () => this.#stop('timeout', `the guest did not power off within ${timeoutMs} ms`),
      timeoutMs,
    );
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) onAbort();
    try {
      return await this.#process.ended;
    } catch (error) {
      throw new GuestError('qemu', `${QEMU} did not start`, this.#output, error);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  report(end: ProcessEnd, accelerator: Accelerator, startMs: number): GuestReport {
    const { console } = this.#output;
    const { checks, facts, exitStatus } = this.#reader;
    if (this.#stopped !== undefined) {
      const { code, message, cause } = this.#stopped;
      throw new GuestError(code, message, this.#output, cause);
    }
    if (console.includes('Kernel panic - not syncing')) {
      throw new GuestError('panic', "the guest's kernel panicked", this.#output);
    }
    if (end.code !== 0) {
      const how = end.signal ?? `status ${end.code}`;
      throw new GuestError('qemu', `${QEMU} ended with ${how}`, this.#output);
    }
    if (exitStatus === undefined || !console.includes('reboot: Power down')) {
      throw new GuestError('no-power-off', 'the guest did not power off', this.#output);
    }
    return {
      checks,
      facts,
      exitStatus,
      console,
      accelerator,
      bootMs: (this.#upMs ?? Number.NaN) - startMs,
      totalMs: performance.now() - startMs,
    };
  }

  #takeReport(port: Duplex, text: string): void {
    for (const step of this.#reader.push(text)) void this.#doStep(port, step);
    if (!this.#reader.up) return;
    this.#upMs ??= performance.now();
  }

  async #doStep(port: Duplex, name: string): Promise<void> {
    const step = this.#options.hostSteps?.[name];
    if (step === undefined) {
      this.#stop('host-step', `the guest waits for the host step ${name}, which the test lacks`);
      return;
    }
    try {
      const reply = await step();
      port.write(`${reply ?? ''}\n`);
    } catch (error) {
      this.#stop('host-step', `the host step ${name} failed: ${String(error)}`, error);
    }
  }

  #stop(code: GuestErrorCode, message: string, cause?: unknown): void {
    this.#stopped ??= { code, message, cause };
    this.#process.child.kill('SIGKILL');
  }
}
