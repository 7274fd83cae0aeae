/**
 * Module to load before `vhost-user-blk` (`node --import`): it puts a fault into the program, for
 * the fuzzer to find. The module's address says which one: `?fault=leaks`.
 */
import { openSync, writeSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { duplicateFd, exitNow } from '../../src/sys/index.ts';
import { BackendChannel } from '../../src/vhost-user/backend-channel.ts';
import { MemoryTable } from '../../src/vhost-user/memory-table.ts';
import { SessionLog } from '../../src/vhost-user/session-log.ts';
import { ID_BYTES } from '../../src/virtio-blk/index.ts';
import { RequestParser } from '../../src/virtio-blk/request-parser.ts';

/** The faults there are. */
export type Fault = 'leaks' | 'dies' | 'throws' | 'spins' | 'keeps a timer' | 'hangs' | 'writes';

const MODULE = import.meta.url;
const TIMER_MS = 10;

/** Module for `node --import` with a fault. */
export function faulty(fault: Fault): string {
  const { origin, pathname } = new URL(MODULE);
  return `${origin === 'null' ? 'file://' : origin}${pathname}?fault=${encodeURIComponent(fault)}`;
}

/** Do something before a method of a class. */
function before<Instance, Name extends keyof Instance>(
  prototype: Instance,
  name: Name,
  act: (...args: unknown[]) => void,
): void {
  const method = prototype[name] as (...args: unknown[]) => unknown;
  const wrapper = function (this: unknown, ...args: unknown[]): unknown {
    act(...args);
    return method.apply(this, args);
  };
  prototype[name] = wrapper as Instance[Name];
}

function spin(): void {
  setImmediate(spin);
}

/** Each GET_ID writes to the image's first byte, which is opened before the sandbox is entered. */
function writeWhenAsked(): void {
  const option = process.argv.find((argument) => argument.startsWith('--blk-file='));
  // Only the main thread knows the command line; its threads get its environment.
  if (option !== undefined) process.env.FAULTY_IMAGE = option.slice('--blk-file='.length);
  const { FAULTY_IMAGE } = process.env;
  if (isMainThread || FAULTY_IMAGE === undefined) return;
  const image = openSync(FAULTY_IMAGE, 'r+');
  const { parse } = RequestParser.prototype;
  RequestParser.prototype.parse = function (slot) {
    const verdict = parse.call(this, slot);
    if (this.writtenBytes === ID_BYTES) writeSync(image, 'x', 0);
    return verdict;
  };
}

const FAULTS: Readonly<Record<Fault, () => void>> = {
  // SET_LOG_FD is duplicated.
  leaks: () =>
    before(SessionLog.prototype, 'exchangeFd', (fd) => {
      duplicateFd((fd as { readonly number: number }).number, 'leak');
    }),
  // REM_MEM_REG after SET_LOG_BASE ends the process.
  dies: () => {
    let isLogged = false;
    before(SessionLog.prototype, 'setBase', () => {
      isLogged = true;
    });
    before(SessionLog.prototype, 'close', () => {
      isLogged = false;
    });
    before(MemoryTable.prototype, 'remove', () => {
      if (isLogged) exitNow(3);
    });
  },
  // REM_MEM_REG is not prepared for what it gets.
  throws: () =>
    before(MemoryTable.prototype, 'remove', () => {
      throw new TypeError('remove is broken');
    }),
  // After SET_BACKEND_REQ_FD, the main thread never sleeps again.
  spins: () => before(BackendChannel.prototype, 'close', spin),
  // REM_MEM_REG leaves a timer behind.
  'keeps a timer': () =>
    before(MemoryTable.prototype, 'remove', () => {
      setInterval(() => {}, TIMER_MS);
    }),
  // SET_LOG_FD makes the end of the session wait for ever.
  hangs: () =>
    before(SessionLog.prototype, 'exchangeFd', () => {
      SessionLog.prototype.close = () => new Promise(() => {});
    }),
  writes: writeWhenAsked,
};

const chosen = new URL(MODULE).searchParams.get('fault') as Fault | null;
if (chosen !== null) FAULTS[chosen]();
