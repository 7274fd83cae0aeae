/**
 * Module to load before a program (`node --import`): one call of the C library that vhostkit makes
 * itself fails. Calls of Node, V8 and libuv are not its business: they abort, or throw what the
 * program cannot foresee.
 *
 * VHOSTKIT_FAILING_CALL=thread:name:number:fault says which: the number-th call of `name` in a
 * thread (0: the main one), and an errno's name or `short`. `syscall` has its number in its name:
 * `syscall-426`. With VHOSTKIT_CALL_LOG=path all calls are listed there, one a line: `thread:name`.
 */
import { openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { threadId } from 'node:worker_threads';

type Callable = (...args: unknown[]) => number;

interface Library {
  func(name: string, result: string, args: readonly string[]): Callable;
}

interface Koffi {
  load(path: string | null): Library;
  errno(): number;
}

const EPOLL_CTL_DEL = 2;

const { VHOSTKIT_FAILING_CALL = '', VHOSTKIT_CALL_LOG = '' } = process.env;
const [thread, target, number, fault] = VHOSTKIT_FAILING_CALL.split(':');
const log = VHOSTKIT_CALL_LOG === '' ? -1 : openSync(VHOSTKIT_CALL_LOG, 'a');

const koffi = createRequire(import.meta.url)('koffi') as Koffi;
const load = koffi.load.bind(koffi);
const errno = koffi.errno.bind(koffi);
/** What the call that has just been made is to have failed with; 0: what it really did. */
let injected = 0;
let count = 0;

koffi.load = (path) => {
  const library = load(path);
  return { func: (name, result, args) => wrap(name, library.func(name, result, args)) };
};
koffi.errno = () => injected || errno();

function wrap(name: string, real: Callable): Callable {
  return (...args) => {
    injected = 0;
    const called = nameOf(name, args);
    if (log !== -1) writeSync(log, `${threadId}:${called}\n`);
    if (called !== target || String(threadId) !== thread) return real(...args);
    count += 1;
    if (count !== Number(number)) return real(...args);
    if (fault === 'short') return real(...shorter(name, args));
    injected = constants.errno[fault as keyof typeof constants.errno];
    return -1;
  };
}

/** Removal from an epoll set needs nothing, so it does not fail: that has a name of its own. */
function nameOf(name: string, args: readonly unknown[]): string {
  if (name === 'syscall') return `syscall-${Number(args[0])}`;
  return name === 'epoll_ctl' && args[1] === EPOLL_CTL_DEL ? 'epoll_ctl_del' : name;
}

/** Arguments for a part of a transfer: one piece of a list, or half of a buffer. */
function shorter(name: string, args: unknown[]): unknown[] {
  const shortened = [...args];
  const length = Number(args[2]);
  if (name.includes('v')) shortened[2] = 1;
  else if (length > 512) shortened[2] = Math.floor(length / 1024) * 512;
  return shortened;
}
