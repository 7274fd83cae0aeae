/**
 * The confinement of a program: once everything it serves is open, it gives up what it does not
 * need any more. docs/internals/confinement.md says what that is, and what it is good for.
 */
import { dirname } from 'node:path';
import { ExportError } from '../exports/index.ts';
import {
  type Architecture,
  allowBeneath,
  createLandlockRuleset,
  Errno,
  type Fd,
  type FileRemoval,
  filterAllThreads,
  LandlockAccess,
  type Logger,
  landlockAbi,
  landlockHasThreadSync,
  probeSeccomp,
  restrictByLandlock,
  SystemError,
  setNoNewPrivileges,
} from '../sys/index.ts';

/** `auto`: whatever of it the kernel supports. `on`: all of it, or nothing is served. */
export const SANDBOX_MODES = ['auto', 'on', 'off'] as const;
export type SandboxMode = (typeof SANDBOX_MODES)[number];

/** The parts of the sandbox. */
export type SandboxPart = 'Landlock' | 'seccomp' | 'io_uring restrictions';

/** Landlock as the kernel has it. */
interface LandlockPlan {
  readonly abi: number;
  readonly ruleset: Fd;
}

/** What is missing, and why. */
export type Gaps = ReadonlyMap<SandboxPart, string>;

/** Throw unless the mode can live with the gaps. */
export function acceptGaps(mode: SandboxMode, gaps: Gaps): void {
  if (mode !== 'on' || gaps.size === 0) return;
  const [first] = [...gaps].map(([part, reason]) => `${part} is not to be had: ${reason}`);
  throw new ExportError('SANDBOX_REFUSED', `--sandbox=on: ${first}`);
}

/** Why the kernel refuses a part, for people. Rethrows what is no refusal. */
export function refusalReason(error: unknown): string {
  if (!(error instanceof SystemError)) throw error;
  switch (error.errno) {
    case Errno.ENOSYS:
    case Errno.EINVAL:
      return 'the kernel does not have it';
    case Errno.EOPNOTSUPP:
      return 'it was switched off at boot (lsm=)';
    case Errno.EPERM:
      return 'forbidden (by a sandbox around this process)';
    default:
      return error.message;
  }
}

/** A sandbox that was prepared and is to be entered. */
export class Sandbox {
  readonly #mode: SandboxMode;
  readonly #removal: FileRemoval | undefined;
  readonly #gaps = new Map<SandboxPart, string>();
  readonly #landlock: LandlockPlan | undefined;

  /**
   * See what the kernel supports.
   *
   * @param removal - the one file that is removed later on.
   * @throws ExportError if the mode is `on` and a part is missing.
   */
  constructor(mode: SandboxMode, removal: FileRemoval | undefined) {
    this.#mode = mode;
    this.#removal = removal;
    if (mode === 'off') return;
    this.#landlock = this.#attempt('Landlock', () => prepareLandlock(removal));
    this.#attempt('seccomp', probeSeccomp);
    // Node's own ring is off by default, and may open files past the other two.
    if (process.env.UV_USE_IO_URING === '1') {
      this.#gaps.set('io_uring restrictions', 'UV_USE_IO_URING=1 gives Node a ring of its own');
    }
    acceptGaps(mode, this.#gaps);
  }

  /** For threads that restrict themselves. */
  get landlockRuleset(): Fd | undefined {
    return this.#landlock?.ruleset;
  }

  /**
   * Confine the process. No thread starts any more that has something to read. Logs what is in
   * force, and what is not.
   *
   * @throws ExportError as the constructor does.
   */
  enter(logger: Logger): void {
    if (this.#mode === 'off') {
      logger.info('sandbox: off');
      return;
    }
    setNoNewPrivileges();
    const landlock = this.#landlock;
    if (landlock !== undefined) {
      const { abi, ruleset } = landlock;
      this.#attempt('Landlock', () =>
        restrictByLandlock(ruleset.number, landlockHasThreadSync(abi)),
      );
      ruleset.close();
    }
    if (!this.#gaps.has('seccomp')) this.#attempt('seccomp', () => this.#filter());
    acceptGaps(this.#mode, this.#gaps);
    logger.info(`sandbox: ${this.#inForce()}`);
    for (const [part, reason] of this.#gaps) {
      logger.warn(`sandbox: ${part} is not in force: ${reason}`);
    }
  }

  #filter(): void {
    filterAllThreads({
      architecture: process.arch as Architecture,
      pid: process.pid,
      removalAddress: this.#removal?.address,
    });
  }

  #inForce(): string {
    const parts: string[] = [];
    if (!this.#gaps.has('seccomp')) parts.push('seccomp in all threads');
    const landlock = this.#landlock;
    if (landlock !== undefined && !this.#gaps.has('Landlock')) {
      const isEverywhere = landlockHasThreadSync(landlock.abi);
      const where = isEverywhere ? 'all threads' : 'the main thread and the queue workers';
      parts.push(`Landlock (ABI ${landlock.abi}) in ${where}`);
    }
    return parts.join(', ') || 'nothing but no_new_privs in the main thread';
  }

  /** Do what a part takes, or note why it cannot be done. */
  #attempt<Result>(part: SandboxPart, action: () => Result): Result | undefined {
    try {
      return action();
    } catch (error) {
      this.#gaps.set(part, refusalReason(error));
      return undefined;
    }
  }
}

/** Nothing is allowed but to remove the socket: Landlock cannot be told of less than its folder. */
function prepareLandlock(removal: FileRemoval | undefined): LandlockPlan {
  const abi = landlockAbi();
  const ruleset = createLandlockRuleset(abi);
  try {
    if (removal !== undefined) {
      allowBeneath(ruleset, dirname(removal.path), LandlockAccess.REMOVE_FILE);
    }
    return { abi, ruleset };
  } catch (error) {
    ruleset.close();
    throw error;
  }
}
