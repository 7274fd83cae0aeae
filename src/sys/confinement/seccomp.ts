/**
 * System call filters (seccomp(2)) for all threads of the process.
 *
 * SAFETY: the kernel copies the program during the call.
 */
import { Errno, SystemError } from '../errors.ts';
import { lastErrno, libc } from '../libc.ts';
import { Mapping } from '../mapping.ts';
import { INSTRUCTION_BYTES } from './bpf-program.ts';
import { type PolicyFacts, seccompRules } from './seccomp-policy.ts';
import { seccompProgram, Verdict } from './seccomp-program.ts';

const SECCOMP_CALL: number = process.arch === 'x64' ? 317 : 277;
const SET_MODE_FILTER = 1;
const GET_ACTION_AVAIL = 2;
/** SECCOMP_FILTER_FLAG_TSYNC: all threads, or none. */
const TSYNC = 1;
/** Where the instructions are, behind struct sock_fprog { u16 len; struct sock_filter *filter }. */
const INSTRUCTIONS_AT = 16;

function seccomp(operation: number, flags: number, address: number): number {
  const result = libc.syscall(SECCOMP_CALL, operation, flags, address, 0, 0, 0);
  if (result === -1) throw new SystemError('seccomp', lastErrno());
  return result;
}

/** Make sure that filters can be had (Linux 4.14). Changes nothing. @throws SystemError. */
export function probeSeccomp(): void {
  using memory = Mapping.anonymous(4096);
  new Uint32Array(memory.view(0, 4))[0] = Verdict.KILL_PROCESS;
  seccomp(GET_ACTION_AVAIL, 0, memory.address);
}

/**
 * Refuse to all threads of the process, for good, what the policy refuses. They get
 * no_new_privs with it; the calling thread has it already.
 *
 * @throws SystemError, and then no thread is filtered: EBUSY if a thread has a filter that this
 * one does not have.
 */
export function filterAllThreads(facts: PolicyFacts): void {
  const instructions = seccompProgram(facts.architecture, seccompRules(facts));
  using memory = Mapping.anonymous(INSTRUCTIONS_AT + instructions.length);
  const view = new DataView(memory.view(0, INSTRUCTIONS_AT));
  view.setUint16(0, instructions.length / INSTRUCTION_BYTES, true);
  view.setBigUint64(8, BigInt(memory.address + INSTRUCTIONS_AT), true);
  new Uint8Array(memory.view(INSTRUCTIONS_AT, instructions.length)).set(instructions);
  const thread = seccomp(SET_MODE_FILTER, TSYNC, memory.address);
  if (thread !== 0) {
    throw new SystemError('seccomp', Errno.EBUSY, `(thread ${thread} has a filter of its own)`);
  }
}
