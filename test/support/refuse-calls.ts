/**
 * Module to load before a program (`node --import`): the kernel refuses io_uring to it from then
 * on, as it does in containers, by a seccomp filter (`man 2 seccomp`). Takes no privileges.
 */
import { Mapping } from '../../src/sys/index.ts';
import { libc } from '../../src/sys/libc.ts';

const PRCTL_CALLS: Readonly<Record<string, number>> = { x64: 157, arm64: 167 };
const PR_SET_SECCOMP = 22;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_MODE_FILTER = 2;
/** The same number on all machines. */
const IO_URING_SETUP = 425;
const EPERM = 1;

/** `struct sock_filter`: code, jump if true, jump if false, operand. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

const FILTER: readonly Instruction[] = [
  // Load the number of the system call; if it is the one, fail with EPERM; else let it pass.
  [0x20, 0, 0, 0],
  [0x15, 0, 1, IO_URING_SETUP],
  [0x06, 0, 0, 0x0005_0000 | EPERM],
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
