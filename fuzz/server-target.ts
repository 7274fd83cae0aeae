/**
 * The program under attack, and what has to be true of it after each case: it serves others, the
 * image is as it was, and the process has no more open than before, and sleeps.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Reactor } from '../src/sys/index.ts';
import { DiskImage } from './disk-image.ts';
import { useHonestly } from './honest-client.ts';
import {
  awakeMs,
  childrenOf,
  mappedRanges,
  openDescriptors,
  residentMib,
  threadCount,
  threadStates,
  wakeUps,
} from './process-facts.ts';
import { ServerProcess } from './server-process.ts';
import { PATIENT, type Patience, type Target, type Violation } from './target.ts';

const POLL_MS = 2;
const STABLE_MS = 300;
/** With `--isolate`, a process for the next client may be starting: that takes its time. */
const STARTING_LOOKS_MS = [2000, 3000, 3000];
const BUSY_SHARE = 0.5;
const MAX_WAKE_UPS_PER_S = 4;
/** What garbage collection may leave for a while. */
const MAPPINGS_SLACK = 400;
const MEMORY_SLACK_MIB = 256;
/** Threads of libuv's pool, which start when there is something for them. */
const POOL_THREADS = 4;

/** See the module's comment. */
export class ServerTarget implements Target {
  readonly socketPath: string;
  readonly #folder: string;
  readonly #image: DiskImage | undefined;
  readonly #isReadOnly: boolean;
  readonly #isIsolated: boolean;
  readonly #reactor: Reactor;
  #server: ServerProcess;
  #uses = 0;
  /** With `--isolate` there are several. */
  #processes = 1;
  #cutOff = 0;
  #descriptors: readonly string[] = [];
  #threads = 0;
  #mappings = 0;
  #residentMib = 0;

  /** Start a server with these options, apart from socket and disk, and see that it serves. */
  static async start(
    reactor: Reactor,
    options: readonly string[],
    modules: readonly string[] = [],
  ): Promise<ServerTarget> {
    const folder = mkdtempSync(join(tmpdir(), 'vhostkit-fuzz-'));
    const socketPath = join(folder, 'socket');
    const isReadOnly = options.includes('--read-only');
    const hasDisk = options.some((option) => option.startsWith('--disk='));
    const image = hasDisk ? undefined : new DiskImage(join(folder, 'image'), isReadOnly);
    const place = [`--socket-path=${socketPath}`, ...(image ? [`--blk-file=${image.path}`] : [])];
    try {
      const server = await ServerProcess.start([...place, ...options], modules);
      const isIsolated = options.includes('--isolate');
      const target = new ServerTarget(reactor, folder, image, isReadOnly, isIsolated, server);
      await target.#settle();
      return target;
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  private constructor(
    reactor: Reactor,
    folder: string,
    image: DiskImage | undefined,
    isReadOnly: boolean,
    isIsolated: boolean,
    server: ServerProcess,
  ) {
    this.#isIsolated = isIsolated;
    this.#reactor = reactor;
    this.#folder = folder;
    this.socketPath = join(folder, 'socket');
    this.#image = image;
    this.#isReadOnly = isReadOnly;
    this.#server = server;
  }

  get pid(): number {
    return this.#server.pid;
  }

  get log(): readonly string[] {
    return this.#server.lastLines;
  }

  /** Memory the server occupies, in MiB. */
  get residentMib(): number {
    return residentMib(this.pid);
  }

  /** The process, and with `--isolate` those that serve clients. */
  get #pids(): readonly number[] {
    return [this.pid, ...childrenOf(this.pid)];
  }

  #sum(fact: (pid: number) => number): number {
    return this.#pids.reduce((sum, pid) => sum + fact(pid), 0);
  }

  /** What is made once and kept is made for the first clients: after them it is what it stays. */
  async #settle(): Promise<void> {
    for (let count = 0; count < 3; count++) {
      const violation = await this.#serves(PATIENT);
      if (violation !== undefined) throw new Error(`${violation.kind}: ${violation.text}`);
    }
    if (this.#isIsolated) await within(PATIENT.limitMs, () => this.#pids.length === 2);
    this.#processes = this.#pids.length;
    // The last client's process, and what leads to it, may have gone in part.
    do {
      this.#descriptors = openDescriptors(this.pid);
      await delay(this.#isIsolated ? STABLE_MS : 0);
    } while (openDescriptors(this.pid).join() !== this.#descriptors.join());
    this.#threads = threadCount(this.pid);
    this.#mappings = mappedRanges(this.pid);
    this.#residentMib = residentMib(this.pid);
  }

  /** An honest client is served, and all are gone after that. */
  async #serves({ limitMs }: Patience): Promise<Violation | undefined> {
    const { socketPath } = this;
    const server = this.#server;
    const before = server.connected;
    this.#uses += 1;
    const startMs = performance.now();
    try {
      await useHonestly({
        ...{ reactor: this.#reactor, socketPath, number: this.#uses, limitMs },
        mayWrite: !this.#isReadOnly && this.#image !== undefined,
      });
    } catch (error) {
      // The end is known a moment after the connection is lost: one that was not is still waited for.
      await server.awaitEnd(Math.max(0, limitMs - (performance.now() - startMs)));
      return this.#ended() ?? this.#notServed((error as Error).message);
    }
    if (await server.allGone(before + 1, limitMs)) return this.#ended();
    const text = `${server.connected} clients came, ${server.disconnected} have gone`;
    return this.#notServed(text);
  }

  #notServed(text: string): Violation {
    return { kind: 'not served', text: [text, ...this.#pids.flatMap(threadStates)].join('\n') };
  }

  #ended(): Violation | undefined {
    const { end, alarms, lastLines } = this.#server;
    if (end !== undefined) {
      const how = end.signal ?? `exit code ${end.code}`;
      return { kind: 'ended', text: `${how}: ${lastLines.slice(-12).join('\n')}` };
    }
    if (alarms.length === 0) return undefined;
    return { kind: 'alarm', text: alarms.join('\n') };
  }

  async check(patience: Patience, cutsMemory: boolean): Promise<Violation | undefined> {
    return (
      (await this.#serves(patience)) ??
      this.#unexpectedLoss(cutsMemory) ??
      this.#imageDamage() ??
      (await this.#descriptorLeak(patience)) ??
      (await this.#busyLoop(patience))
    );
  }

  #unexpectedLoss(cutsMemory: boolean): Violation | undefined {
    const { cutOff } = this.#server;
    const isLost = cutOff > this.#cutOff;
    this.#cutOff = cutOff;
    if (!isLost || cutsMemory) return undefined;
    return { kind: 'ended', text: 'SIGBUS, though no memory was cut off' };
  }

  #imageDamage(): Violation | undefined {
    const text = this.#image?.damage();
    return text === undefined ? undefined : { kind: 'image', text };
  }

  async #descriptorLeak({ closingMs }: Patience): Promise<Violation | undefined> {
    const isSame = (): boolean =>
      this.#pids.length === this.#processes &&
      openDescriptors(this.pid).join('\n') === this.#descriptors.join('\n');
    if (await within(closingMs, isSame)) return undefined;
    const now = openDescriptors(this.pid);
    const text = `${difference(this.#descriptors, now)} (${now.length} in all), ${this.#pids.length} processes`;
    return { kind: 'descriptors', text };
  }

  async #busyMs(lookMs: number): Promise<{ readonly busyMs: number; readonly tookMs: number }> {
    const [startMs, before] = [performance.now(), this.#sum(awakeMs)];
    await delay(lookMs);
    const busyMs = this.#sum(awakeMs) - before;
    return { busyMs, tookMs: performance.now() - startMs };
  }

  async #busyLoop({ busyLooksMs }: Patience): Promise<Violation | undefined> {
    let last = '';
    for (const lookMs of [...busyLooksMs, ...(this.#isIsolated ? STARTING_LOOKS_MS : [])]) {
      const { busyMs, tookMs } = await this.#busyMs(lookMs);
      if (busyMs < tookMs * BUSY_SHARE) return undefined;
      last = `${busyMs.toFixed(0)} ms of ${tookMs.toFixed(0)} ms with no client`;
    }
    return { kind: 'busy', text: last };
  }

  async inspect(patience: Patience): Promise<Violation | undefined> {
    return (await this.#timerLeak(patience)) ?? this.#memoryLeak();
  }

  async #timerLeak({ wakeLooksMs }: Patience): Promise<Violation | undefined> {
    let last = '';
    for (const lookMs of wakeLooksMs) {
      const before = this.#sum(wakeUps);
      await delay(lookMs);
      const count = this.#sum(wakeUps) - before;
      if (count <= (MAX_WAKE_UPS_PER_S * lookMs) / 1000) return undefined;
      last = `${count} wake-ups within ${lookMs} ms with no client`;
    }
    return { kind: 'wake-ups', text: last };
  }

  #memoryLeak(): Violation | undefined {
    const threads = threadCount(this.pid);
    if (threads > this.#threads + POOL_THREADS) {
      return { kind: 'threads', text: `${threads} threads, there were ${this.#threads}` };
    }
    const ranges = mappedRanges(this.pid);
    if (ranges > this.#mappings + MAPPINGS_SLACK) {
      return { kind: 'mappings', text: `${ranges} mappings, there were ${this.#mappings}` };
    }
    const mib = residentMib(this.pid);
    if (mib <= this.#residentMib + MEMORY_SLACK_MIB) return undefined;
    const [now, then] = [mib, this.#residentMib].map((value) => value.toFixed(0));
    return { kind: 'memory', text: `${now} MiB, there were ${then} MiB` };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    this.#image?.[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Wait until something is so. False: it is not so in time. */
async function within(limitMs: number, isSo: () => boolean): Promise<boolean> {
  const endMs = performance.now() + limitMs;
  while (!isSo()) {
    if (performance.now() > endMs) return false;
    await delay(POLL_MS);
  }
  return true;
}

/** What is in the second list more often, or less often, than in the first. */
function difference(before: readonly string[], now: readonly string[]): string {
  const kinds = [...new Set([...before, ...now])];
  const count = (list: readonly string[], kind: string): number =>
    list.filter((each) => each === kind).length;
  return kinds
    .map((kind) => ({ kind, more: count(now, kind) - count(before, kind) }))
    .filter(({ more }) => more !== 0)
    .map(({ kind, more }) => `${more > 0 ? '+' : ''}${more} ${kind}`)
    .join(', ');
}
