/**
 * Landlock (landlock(7)): a thread gives up access to files, TCP, abstract unix sockets and other
 * processes, but for what a ruleset allows.
 *
 * SAFETY: the kernel copies all structures during the calls.
 */
import { constants } from 'node:fs';
import { Open } from '../constants.ts';
import { SystemError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { openFile } from '../file.ts';
import { lastErrno, libc } from '../libc.ts';
import { Mapping } from '../mapping.ts';
import { setNoNewPrivileges } from './no-new-privileges.ts';

/** The same on all architectures. */
const CREATE_RULESET = 444;
const ADD_RULE = 445;
const RESTRICT_SELF = 446;

const CREATE_RULESET_VERSION = 1;
const RULE_PATH_BENEATH = 1;
/** LANDLOCK_RESTRICT_SELF_TSYNC: all threads of the process. ABI 8, Linux 7.0. */
const RESTRICT_SELF_TSYNC = 1 << 3;
const TSYNC_ABI = 8;

/** Access rights that rules here grant (LANDLOCK_ACCESS_FS_*). */
export const LandlockAccess = { REMOVE_FILE: 1 << 5 } as const;

/** What an ABI can restrict: bit masks, as struct landlock_ruleset_attr has them. */
export interface LandlockRights {
  readonly files: number;
  readonly network: number;
  readonly scopes: number;
}

/** Number of file access rights from each ABI on: they are numbered without gaps. */
const FILE_RIGHTS: readonly (readonly [abi: number, count: number])[] = [
  [9, 17], // RESOLVE_UNIX
  [5, 16], // IOCTL_DEV
  [3, 15], // TRUNCATE
  [2, 14], // REFER
  [1, 13], // EXECUTE to MAKE_SYM
];

/** Everything that an ABI, or the newest one known here, can restrict. */
export function landlockRights(abi: number): LandlockRights {
  const count = FILE_RIGHTS.find(([first]) => abi >= first)?.[1] ?? 0;
  return {
    files: 2 ** count - 1,
    network: abi >= 4 ? 3 : 0, // BIND_TCP, CONNECT_TCP
    scopes: abi >= 6 ? 3 : 0, // ABSTRACT_UNIX_SOCKET, SIGNAL
  };
}

function landlock(call: number, name: string, ...args: [number, number, number, number]): number {
  const result = libc.syscall(call, ...args, 0, 0);
  if (result === -1) throw new SystemError(name, lastErrno());
  return result;
}

/**
 * Version of the kernel's ABI, from 1 on.
 *
 * @throws SystemError: ENOSYS where the kernel does not have Landlock, EOPNOTSUPP where it was
 * switched off at boot.
 */
export function landlockAbi(): number {
  return landlock(CREATE_RULESET, 'landlock_create_ruleset', 0, 0, CREATE_RULESET_VERSION, 0);
}

/** Whether one thread can restrict all others, too. */
export function landlockHasThreadSync(abi: number): boolean {
  return abi >= TSYNC_ABI;
}

/**
 * A ruleset that allows nothing of what the ABI can restrict, but for rules added to it.
 *
 * @throws SystemError.
 */
export function createLandlockRuleset(abi: number): Fd {
  const { files, network, scopes } = landlockRights(abi);
  using memory = Mapping.anonymous(4096);
  const words = new BigUint64Array(memory.view(0, 24));
  words.set([BigInt(files), BigInt(network), BigInt(scopes)]);
  // Only as many fields as the ABI has: an older kernel refuses a structure that it does not know.
  const fields = abi >= 6 ? 3 : abi >= 4 ? 2 : 1;
  const fd = landlock(CREATE_RULESET, 'landlock_create_ruleset', memory.address, fields * 8, 0, 0);
  return new Fd(fd, 'Landlock ruleset');
}

/** Allow access of some kinds in a folder and all below it. @throws SystemError. */
export function allowBeneath(ruleset: Fd, folder: string, access: number): void {
  using parent = openFile(folder, Open.PATH | constants.O_DIRECTORY);
  using memory = Mapping.anonymous(4096);
  // struct landlock_path_beneath_attr { u64 allowed_access; s32 parent_fd }, packed.
  const rule = new DataView(memory.view(0, 16));
  rule.setBigUint64(0, BigInt(access), true);
  rule.setInt32(8, parent.number, true);
  landlock(ADD_RULE, 'landlock_add_rule', ruleset.number, RULE_PATH_BENEATH, memory.address, 0);
}

/**
 * Restrict the calling thread, and those it starts, for good; it gets no_new_privs first.
 *
 * @param ruleset - a descriptor of one.
 * @param allThreads - all others, too; see `landlockHasThreadSync`.
 * @throws SystemError: E2BIG in the 17th sandbox around this thread.
 */
export function restrictByLandlock(ruleset: number, allThreads = false): void {
  setNoNewPrivileges();
  const flags = allThreads ? RESTRICT_SELF_TSYNC : 0;
  landlock(RESTRICT_SELF, 'landlock_restrict_self', ruleset, flags, 0, 0);
}
