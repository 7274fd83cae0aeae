/**
 * Module to load before a program (`node --import`): the kernel refuses some system calls to it
 * from then on, as it does in containers, by a seccomp filter (`man 2 seccomp`). The module's
 * address says which and how: `?calls=444,446&errno=38`. Takes no privileges.
 */
import { isMainThread } from 'node:worker_threads';
import { Mapping } from '../../src/sys/index.ts';
import { libc } from '../../src/sys/libc.ts';

const PRCTL_CALLS: Readonly<Record<string, number>> = { x64: 157, arm64: 167 };
const PR_SET_SECCOMP = 22;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_MODE_FILTER = 2;

/** `struct sock_filter`: code, jump if true, jump if false, operand. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

const question = new URL(import.meta.url).searchParams;
const calls = (question.get('calls') ?? '').split(',').map(Number);
const errno = Number(question.get('errno'));

const FILTER: readonly Instruction[] = [
  // Load the number of the system call; if it is one of those, fail; else let it pass.
  [0x20, 0, 0, 0],
  ...calls.flatMap((number): Instruction[] => [
    [0x15, 0, 1, number],
    [0x06, 0, 0, 0x0005_0000 | errno],
  ]),
  [0x06, 0, 0, 0x7fff_0000],
];
const INSTRUCTION_BYTES = 8;
/** Where the instructions are, behind `struct sock_fprog`. */
const FILTER_AT = 16;

function prctl(option: number, argument: number, pointer: number): void {
  const number = PRCTL_CALLS[process.arch];
  if (libc.syscall(number, option, argument, pointer, 0, 0, 0) === 0) return;
  throw new Error(`prctl(${option}) was refused`);
}

/** For the calling thread and those it will start. */
function refuse(): void {
  using memory = Mapping.anonymous(4096);
  const view = new DataView(memory.view(0, 4096));
  view.setUint16(0, FILTER.length, true);
  view.setBigUint64(8, BigInt(memory.address + FILTER_AT), true);
  for (const [index, [code, ifTrue, ifFalse, operand]] of FILTER.entries()) {
    const at = FILTER_AT + index * INSTRUCTION_BYTES;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, ifTrue);
    view.setUint8(at + 3, ifFalse);
    view.setUint32(at + 4, operand, true);
  }
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, memory.address);
}

// Worker threads load this, too, and have the filter already: another one of their own would keep
// the program from giving all its threads one filter.
if (isMainThread) refuse();
