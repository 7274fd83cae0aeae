/**
 * A whole life of the program with one call failing: start, two clients, a change of size, end. What
 * may come of it is a short list, and anything else is thrown.
 */
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EngineName } from '../../src/sys/index.ts';
import type { BlockDriver } from '../../src/testing/index.ts';
import { ConfigOffset, RequestType, Status } from '../../src/virtio-blk/index.ts';
import { patternBytes, rangesPayload } from './request-bytes.ts';
import { DriverHost } from './served-disk.ts';
import { type ProgramRun, ServerProgram } from './server-program.ts';

const MODULE = new URL('./failing-calls.js', import.meta.url).href;
const IMAGE_BYTES = 1024 * 1024;
const LARGER_BYTES = 2 * IMAGE_BYTES;
/** For a step that goes on or fails at once; far above what a busy machine needs. */
const STEP_MS = 40_000;

/** Faults that a call may have; calls that are not here cannot fail, or not for an outer reason. */
export const CALL_FAULTS: Readonly<Record<string, readonly string[]>> = {
  accept4: ['EMFILE', 'ECONNABORTED', 'EINTR'],
  bind: ['EADDRINUSE', 'EIO'],
  close: ['EIO', 'EINTR'],
  epoll_create1: ['EMFILE'],
  epoll_ctl: ['ENOSPC', 'ENOMEM'],
  epoll_wait: ['EINTR'],
  eventfd: ['EMFILE'],
  fallocate: ['EIO', 'ENOSPC', 'EINTR', 'EOPNOTSUPP'],
  fchownat: ['EIO'],
  fdatasync: ['EIO', 'ENOSPC', 'EINTR'],
  fstatfs: ['EIO', 'EINTR'],
  getsockopt: ['ENOBUFS'],
  ioctl: ['EIO'],
  listen: ['EADDRINUSE'],
  memfd_create: ['EMFILE'],
  mmap: ['ENOMEM', 'EAGAIN'],
  open: ['EIO', 'EMFILE', 'EINTR'],
  poll: ['ENOMEM', 'EINTR'],
  pread: ['EIO', 'EAGAIN', 'EINTR', 'short'],
  preadv: ['EIO', 'EAGAIN', 'EINTR', 'short'],
  pwrite: ['EIO', 'ENOSPC', 'EAGAIN', 'EINTR', 'short'],
  pwritev: ['EIO', 'ENOSPC', 'EAGAIN', 'EINTR', 'short'],
  pwritev2: ['EIO', 'ENOSPC', 'EAGAIN', 'EINTR', 'short'],
  read: ['EINTR', 'EAGAIN'],
  recvmsg: ['EINTR', 'ECONNRESET', 'ENOMEM'],
  sendmsg: ['EINTR', 'EPIPE', 'ENOBUFS'],
  socket: ['EMFILE'],
  socketpair: ['EMFILE'],
  statx: ['EIO'],
  // fcntl, prctl, seccomp, io_uring_setup, _enter, _register, landlock_*: as on x86-64.
  'syscall-72': ['ENOLCK', 'EMFILE'],
  'syscall-157': ['EINVAL'],
  'syscall-317': ['EINVAL', 'ENOMEM'],
  'syscall-425': ['ENOMEM', 'EPERM', 'EMFILE'],
  'syscall-426': ['EINTR', 'EAGAIN', 'EBUSY'],
  'syscall-427': ['ENOMEM', 'EINVAL'],
  'syscall-444': ['EOPNOTSUPP', 'EMFILE'],
  'syscall-445': ['EOPNOTSUPP', 'ENOMEM'],
  'syscall-446': ['E2BIG', 'EPERM'],
  unlinkat: ['EIO'],
  // Of eventfds: EAGAIN would say that the other side has not looked since 2^64 - 2 writes.
  write: ['EINTR'],
};

/** Which call fails, and how: see `failing-calls.ts`. */
export interface FailingCall {
  readonly thread: number;
  readonly name: string;
  readonly number: number;
  readonly fault: string;
}

/** How it went, when that was well. */
export type Verdict = 'refused to serve' | 'client lost' | 'request failed' | 'nothing visible';

export interface ProgramOptions {
  readonly engine: EngineName;
  readonly args?: readonly string[];
}

/** All faults of all calls that the program makes in its life, in order. */
export async function faultsOfProgram(options: ProgramOptions): Promise<FailingCall[]> {
  const folder = mkdtempSync(join(tmpdir(), 'call-log-'));
  const log = join(folder, 'log');
  try {
    const verdict = await liveWith(options, { VHOSTKIT_CALL_LOG: log });
    assert.equal(verdict, 'nothing visible');
    const counts = new Map<string, number>();
    const calls = readFileSync(log, 'utf8').trim().split('\n');
    // What modules do when they are loaded is not the program's to survive, nor is it Node's.
    const loaded = calls.indexOf('0:open');
    return calls.flatMap((line, index) => {
      const number = (counts.get(line) ?? 0) + 1;
      counts.set(line, number);
      if (index < loaded) return [];
      const [thread, name] = line.split(':');
      const faults = CALL_FAULTS[name] ?? [];
      return faults.map((fault) => ({ thread: Number(thread), name, number, fault }));
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Live with a call that fails. Throws if that comes to a bad end. */
export async function liveWithFailing(
  options: ProgramOptions,
  { thread, name, number, fault }: FailingCall,
): Promise<Verdict> {
  return liveWith(options, { VHOSTKIT_FAILING_CALL: `${thread}:${name}:${number}:${fault}` });
}

async function liveWith(
  { engine, args = [] }: ProgramOptions,
  env: Readonly<Record<string, string>>,
): Promise<Verdict> {
  const folder = mkdtempSync(join(tmpdir(), 'failing-program-'));
  const imagePath = join(folder, 'image');
  const socketPath = join(folder, 'socket');
  writeFileSync(imagePath, patternBytes(IMAGE_BYTES, 0));
  const program = new ServerProgram(
    [`--socket-path=${socketPath}`, `--blk-file=${imagePath}`, `--engine=${engine}`, ...args],
    { env: { ...env, NODE_OPTIONS: `--import=${MODULE}` } },
  );
  try {
    const life = new Life(program, imagePath, socketPath);
    const verdict = await life.live();
    const end = await inTime('the end', program.stop());
    checkEnd(end, verdict);
    assert.ok(!existsSync(socketPath) || isRemovalFault(env), `the socket is left: ${end.stderr}`);
    life.checkImage();
    return verdict;
  } finally {
    await program.stop('SIGKILL');
    rmSync(folder, { recursive: true });
  }
}

/** The one call that may leave the socket: its removal. */
function isRemovalFault(env: Readonly<Record<string, string>>): boolean {
  return env.VHOSTKIT_FAILING_CALL?.includes(':unlinkat:') ?? false;
}

function checkEnd({ code, signal, stderr }: ProgramRun, verdict: Verdict): void {
  assert.doesNotMatch(stderr, /internal error|^ +at |UnhandledPromise/m, stderr);
  assert.equal(signal, null, stderr);
  if (verdict !== 'refused to serve') {
    assert.ok(code === 0 || /Z error |vhost-user-blk: /.test(stderr), `${code}: ${stderr}`);
    return;
  }
  assert.equal(code, 1, stderr);
  assert.match(stderr, /^vhost-user-blk: .+$/m);
}

async function inTime<Result>(what: string, promise: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: takes for ever`)), STEP_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Something that a client did not get. */
class Lost extends Error {}

/** Rejects when the connection ends. */
function hungUp(driver: BlockDriver): Promise<never> {
  const promise = new Promise<never>((_, reject) => {
    driver.connection.session.onDisconnect = (reason) => reject(new Lost(reason.message));
  });
  promise.catch(() => {});
  return promise;
}

class Life {
  readonly #program: ServerProgram;
  readonly #imagePath: string;
  readonly #socketPath: string;
  /** What the image must hold; where a write failed, what it may hold as well. */
  readonly #content = Buffer.from(patternBytes(IMAGE_BYTES, 0));
  readonly #otherwise = Buffer.from(patternBytes(IMAGE_BYTES, 0));
  #flushFailed = false;
  #requestFailed = false;

  constructor(program: ServerProgram, imagePath: string, socketPath: string) {
    this.#program = program;
    this.#imagePath = imagePath;
    this.#socketPath = socketPath;
  }

  async live(): Promise<Verdict> {
    try {
      await inTime('the start', this.#program.logged(/listening at /));
    } catch (error) {
      if (this.#program.end === undefined) throw error;
      return 'refused to serve';
    }
    let losses = 0;
    for (let client = 1; client <= 3; client++) {
      if (await this.#isLost(client)) losses += 1;
      if (client === 1) await this.#resize();
    }
    // One fault, one client.
    assert.ok(losses <= 1, this.#program.stderr);
    if (losses > 0) return 'client lost';
    return this.#requestFailed ? 'request failed' : 'nothing visible';
  }

  async #isLost(client: number): Promise<boolean> {
    const host = new DriverHost(this.#socketPath);
    try {
      const driver = await inTime(`client ${client} connects`, this.#connect(host));
      const use = Promise.race([this.#use(driver, client), hungUp(driver)]);
      await inTime(`requests of client ${client}`, use);
      return false;
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
      await inTime(`a word of ${error.message}`, this.#program.logged(/Z (?:warn|error) /));
      return true;
    } finally {
      host.close();
    }
  }

  async #connect(host: DriverHost): Promise<BlockDriver> {
    try {
      return await host.connect();
    } catch (error) {
      throw new Lost(String(error));
    }
  }

  async #resize(): Promise<void> {
    truncateSync(this.#imagePath, LARGER_BYTES);
    process.kill(this.#program.pid, 'SIGHUP');
    await inTime('the new size', this.#program.logged(/SIGHUP: /));
  }

  async #use(driver: BlockDriver, seed: number): Promise<void> {
    await this.#write(driver, 0, 8192, seed);
    await this.#write(driver, 20 * 512, 1024, seed);
    await this.#zero(driver, 65536, 8192, 0);
    await this.#zero(driver, 98304, 4096, 1);
    await this.#flush(driver);
    await this.#request(driver, { type: RequestType.DISCARD, data: DISCARDED });
    await this.#setWriteback(driver, 0);
    await this.#write(driver, 131072, 4096, seed);
    await this.#setWriteback(driver, 1);
    await this.#read(driver, 0, 16384);
    await this.#read(driver, 131072, 4096);
    await this.#flush(driver);
  }

  async #request(
    driver: BlockDriver,
    request: Parameters<BlockDriver['request']>[0],
  ): Promise<{ readonly isGood: boolean; readonly bytes: Uint8Array }> {
    let answer: Awaited<ReturnType<BlockDriver['request']>>;
    try {
      answer = await driver.request(request);
    } catch (error) {
      throw new Lost(String(error));
    }
    assert.ok(answer.status === Status.OK || answer.status === Status.IOERR);
    const isGood = answer.status === Status.OK;
    if (!isGood) this.#requestFailed = true;
    return { isGood, bytes: answer.data };
  }

  async #write(driver: BlockDriver, offset: number, bytes: number, seed: number): Promise<void> {
    const data = patternBytes(bytes, seed);
    this.#otherwise.set(data, offset);
    const request = { type: RequestType.OUT, sector: offset / 512, data };
    const { isGood } = await this.#request(driver, request);
    if (isGood) this.#content.set(data, offset);
  }

  async #zero(driver: BlockDriver, offset: number, bytes: number, flags: number): Promise<void> {
    this.#otherwise.fill(0, offset, offset + bytes);
    const data = rangesPayload({ sector: offset / 512, sectors: bytes / 512, flags });
    const { isGood } = await this.#request(driver, { type: RequestType.WRITE_ZEROES, data });
    if (isGood) this.#content.fill(0, offset, offset + bytes);
  }

  async #flush(driver: BlockDriver): Promise<void> {
    const { isGood } = await this.#request(driver, { type: RequestType.FLUSH });
    assert.ok(!(isGood && this.#flushFailed), 'a flush is well after one that failed');
    if (!isGood) this.#flushFailed = true;
  }

  async #setWriteback(driver: BlockDriver, value: number): Promise<void> {
    const bytes = Uint8Array.of(value);
    const payload = { offset: ConfigOffset.WRITEBACK, size: 1, flags: 0, bytes };
    try {
      await driver.connection.session.request('SET_CONFIG', payload);
    } catch (error) {
      throw new Lost(String(error));
    }
  }

  async #read(driver: BlockDriver, offset: number, bytes: number): Promise<void> {
    const request = { type: RequestType.IN, sector: offset / 512, room: bytes };
    const { isGood, bytes: found } = await this.#request(driver, request);
    if (isGood) this.#compare(found, offset, 'read');
  }

  /** What was answered well is in the image, and nothing else has changed. */
  checkImage(): void {
    const image = readFileSync(this.#imagePath);
    this.#compare(image.subarray(0, IMAGE_BYTES), 0, 'image');
    const isEmpty = image.subarray(IMAGE_BYTES).every((byte) => byte === 0);
    assert.ok(isEmpty, 'nothing was written there');
  }

  #compare(found: Uint8Array, offset: number, what: string): void {
    const wrong = found.findIndex((byte, index) => {
      const at = offset + index;
      const isDiscarded = at >= DISCARDED_AT && at < DISCARDED_AT + DISCARDED_BYTES;
      return byte !== this.#content[at] && byte !== this.#otherwise[at] && !isDiscarded;
    });
    assert.equal(wrong, -1, `${what}: byte ${offset + wrong} is ${found[wrong]}`);
  }
}

const DISCARDED_AT = 262144;
const DISCARDED_BYTES = 4096;
const DISCARDED = rangesPayload({ sector: DISCARDED_AT / 512, sectors: DISCARDED_BYTES / 512 });
