/**
 * Module to load before the program (`node --import`): in each of its threads it waits until a file
 * called `go` is in the folder that VHOSTKIT_ATTEMPTS names, tries what a sandboxed process must not
 * get away with, and writes to standard error what came of it: `attempts in <thread>: <JSON>`.
 * Where it would get away with it, VHOSTKIT_ATTEMPTS_ON=files keeps it to files: the others would
 * end the program, or reach the test.
 *
 * Queue workers get round to it when they have obeyed a command: connect a client.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { errnoName, Mapping } from '../../src/sys/index.ts';
import { lastErrno, libc } from '../../src/sys/libc.ts';

const folder = process.env.VHOSTKIT_ATTEMPTS ?? '';
const image = join(folder, 'image');
const POLL_MS = 5;
const STDERR = 2;
const IS_X64 = process.arch === 'x64';

/** Numbers of system calls that Node has no function for: [x64, arm64], arguments. */
const RAW_CALLS: Readonly<
  Record<string, readonly [x64: number, arm64: number, ...args: number[]]>
> = {
  fork: [56, 220, 17], // clone with SIGCHLD.
  clone3: [435, 435, 0, 0],
  ptrace: [101, 117, 16, process.ppid], // PTRACE_ATTACH
  process_vm_readv: [310, 270, process.ppid, 0, 0, 0, 0, 0],
  pidfd_open: [434, 434, process.ppid, 0],
  unshare: [272, 97, 0x10000000], // CLONE_NEWUSER
  setns: [308, 268, 0, 0],
  mount: [165, 40, 0, 0, 0, 0],
  bpf: [321, 280, 0, 0, 0],
  perf_event_open: [298, 241, 0, 0, 0, 0, 0],
  userfaultfd: [323, 282, 1],
  keyctl: [250, 219, 0, 0],
  personality: [135, 92, 0xffffffff],
  io_uring_setup: [425, 425, 4, 0],
  kill: [62, 129, process.ppid, 0],
  setuid: [105, 146, 65534],
  inet: [41, 198, 2, 1, 0],
  netlink: [41, 198, 16, 3, 0],
  unix: [41, 198, 1, 1, 0],
  'type into the terminal': [16, 29, 0, 0x5412, 0],
  'an unknown call': [999, 999],
};

type Outcome = string;

/** What came of it: a result, or the name of an error. */
function outcomeOf(attempt: () => unknown): Outcome {
  try {
    attempt();
    return 'done';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

function rawOutcome([x64, arm64, ...args]: readonly [number, number, ...number[]]): Outcome {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = args;
  const result = libc.syscall(IS_X64 ? x64 : arm64, a, b, c, d, e, f);
  return result === -1 ? errnoName(lastErrno()) : 'done';
}

function execute(): Outcome {
  const error = spawnSync('/bin/true').error as NodeJS.ErrnoException | undefined;
  return error?.code ?? 'done';
}

/** In place of this process, where nothing of Node is in between. */
function replace(): Outcome {
  const path = Buffer.from('/bin/true\0');
  using memory = Mapping.anonymous(4096);
  new Uint8Array(memory.view(0, path.length)).set(path);
  return rawOutcome([59, 221, memory.address, 0, 0]);
}

function attemptOnFiles(): Record<string, Outcome> {
  return {
    'read a file': outcomeOf(() => readFileSync('/etc/passwd')),
    'read a file of this folder': outcomeOf(() => readFileSync(join(folder, 'go'))),
    'open the image': outcomeOf(() => openSync(image, 'r+')),
    'make a file': outcomeOf(() => writeFileSync(join(folder, 'new'), '')),
    'make a folder': outcomeOf(() => mkdirSync(join(folder, 'new'))),
  };
}

function attemptMore(): Record<string, Outcome> {
  const outcomes: Record<string, Outcome> = {
    'rename a file': outcomeOf(() => renameSync(image, join(folder, 'other'))),
    'remove a file': outcomeOf(() => unlinkSync(image)),
    'change permissions': outcomeOf(() => chmodSync(image, 0o777)),
    execute: execute(),
    replace: replace(),
  };
  for (const [name, call] of Object.entries(RAW_CALLS)) outcomes[name] = rawOutcome(call);
  return outcomes;
}

async function attemptAll(): Promise<Record<string, Outcome>> {
  const outcomes = attemptOnFiles();
  if (process.env.VHOSTKIT_ATTEMPTS_ON !== 'files') Object.assign(outcomes, attemptMore());
  // By a thread of libuv's pool, which was there before the sandbox. A queue worker sleeps in the
  // kernel, and would not see the answer.
  if (isMainThread) {
    const read = readFile('/etc/passwd').then(
      () => 'done',
      (error: NodeJS.ErrnoException) => error.code ?? String(error),
    );
    outcomes['read a file by the pool'] = await read;
  }
  return outcomes;
}

const timer = setInterval(() => {
  if (!existsSync(join(folder, 'go'))) return;
  clearInterval(timer);
  void attemptAll().then((outcomes) => {
    const thread = isMainThread ? 'main' : 'worker';
    writeSync(STDERR, `attempts in ${thread}: ${JSON.stringify(outcomes)}\n`);
  });
}, POLL_MS);
timer.unref();
