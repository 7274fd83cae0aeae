/**
 * What a confined process may ask of the kernel: everything but what it never needs.
 *
 * A list of what is refused, not of what is allowed: Node, V8 and libc differ in what they call
 * from version to version, and a disk that fails after an update of Node would be worse than a
 * harmless call that gets through. Calls newer than the list are the exception: for them the
 * process is as on an older kernel.
 */
import { CLONE3, EXAMINED_CALLS, none, REFUSED_CALLS } from './system-calls.ts';

/** Architectures that the numbers are known for, by Node's names. */
export type Architecture = 'x64' | 'arm64';

/** The lower or upper half of an argument, masked, has a value. */
export interface Condition {
  /** Which argument, from 0. */
  readonly argument: number;
  readonly half: 'low' | 'high';
  /** Default: all bits. */
  readonly mask?: number;
  readonly equals: number;
}

/** What becomes of a call. */
export type Rule =
  /** EPERM. */
  | { readonly kind: 'refuse' }
  /** ENOSYS. */
  | { readonly kind: 'absent' }
  /** Allowed if all conditions hold, else EPERM. */
  | { readonly kind: 'allow-if'; readonly all: readonly Condition[] }
  /** EPERM if a condition holds, else allowed. */
  | { readonly kind: 'refuse-if'; readonly any: readonly Condition[] };

/** What the rules depend on. */
export interface PolicyFacts {
  readonly architecture: Architecture;
  readonly pid: number;
  /** Address of the only path that may be removed, if any (see FileRemoval). */
  readonly removalAddress?: number | undefined;
}

/** include/uapi/linux/sched.h. */
const CLONE_THREAD = 0x10000;
/** NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const CLONE_NEW_ANY = 0x80 | 0x20000 | 0x02000000 | 0x7c000000;
/** ioctl_tty(2): these put characters into the input of whoever started this process. */
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;
const AF_UNIX = 1;
const AT_FDCWD = -100;

/** Low half of an argument, which is all that an int has. */
function int(argument: number, equals: number, mask?: number): Condition {
  return { argument, half: 'low', equals, ...(mask === undefined ? {} : { mask }) };
}

function pointer(argument: number, address: number): readonly Condition[] {
  return [
    int(argument, address % 2 ** 32),
    { argument, half: 'high', equals: Math.floor(address / 2 ** 32) },
  ];
}

function examined(facts: PolicyFacts): Readonly<Record<keyof typeof EXAMINED_CALLS, Rule>> {
  const toItself: Rule = { kind: 'allow-if', all: [int(0, facts.pid)] };
  const { removalAddress } = facts;
  return {
    clone: { kind: 'allow-if', all: [int(0, CLONE_THREAD, CLONE_THREAD | CLONE_NEW_ANY)] },
    ioctl: { kind: 'refuse-if', any: [int(1, TIOCSTI), int(1, TIOCLINUX)] },
    kill: toItself,
    tgkill: toItself,
    rt_sigqueueinfo: toItself,
    rt_tgsigqueueinfo: toItself,
    prlimit64: { kind: 'allow-if', all: [int(0, 0)] },
    socketpair: { kind: 'allow-if', all: [int(0, AF_UNIX)] },
    unlinkat:
      removalAddress === undefined
        ? { kind: 'refuse' }
        : { kind: 'allow-if', all: [int(0, AT_FDCWD), ...pointer(1, removalAddress), int(2, 0)] },
  };
}

/** The rules by number. What is not in it is allowed, up to `NEWEST_CALL`. */
export function seccompRules(facts: PolicyFacts): ReadonlyMap<number, Rule> {
  const column = facts.architecture === 'x64' ? 0 : 1;
  const rules = new Map<number, Rule>();
  for (const numbers of Object.values(REFUSED_CALLS)) {
    if (numbers[column] !== none) rules.set(numbers[column], { kind: 'refuse' });
  }
  for (const [name, rule] of Object.entries(examined(facts))) {
    rules.set(EXAMINED_CALLS[name as keyof typeof EXAMINED_CALLS][column], rule);
  }
  rules.set(CLONE3, { kind: 'absent' });
  return rules;
}
