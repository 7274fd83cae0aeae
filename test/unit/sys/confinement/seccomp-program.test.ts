/** The filter's verdicts, by a machine of our own: for both architectures, whichever this one is. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { NEWEST_CALL } from '../../../../src/sys/confinement/newer-system-calls.ts';
import { type Architecture, seccompRules } from '../../../../src/sys/confinement/seccomp-policy.ts';
import {
  AUDIT_ARCHITECTURES,
  seccompProgram,
  Verdict,
} from '../../../../src/sys/confinement/seccomp-program.ts';
import {
  CLONE3,
  EXAMINED_CALLS,
  none,
  REFUSED_CALLS,
} from '../../../../src/sys/confinement/system-calls.ts';
import { runBpf } from '../../../support/bpf-machine.ts';

const EPERM = Verdict.ERRNO | 1;
const ENOSYS = Verdict.ERRNO | 38;
const PID = 4711;
const PATH_ADDRESS = 0x7f12_3456_7000;
const AT_FDCWD = -100n;
/** Above this a program would be felt in each call that is not let through unseen. */
const MAX_STEPS = 40;

/** What Node and vhostkit live on: [x64, arm64]. */
const NEEDED: Readonly<Record<string, readonly [number, number]>> = {
  read: [0, 63],
  write: [1, 64],
  close: [3, 57],
  mmap: [9, 222],
  mprotect: [10, 226],
  munmap: [11, 215],
  rt_sigreturn: [15, 139],
  pread64: [17, 67],
  preadv: [295, 69],
  pwritev2: [328, 287],
  recvmsg: [47, 212],
  sendmsg: [46, 211],
  accept4: [288, 242],
  futex: [202, 98],
  epoll_pwait: [281, 22],
  eventfd2: [290, 19],
  fallocate: [285, 47],
  fdatasync: [75, 83],
  exit_group: [231, 94],
  madvise: [28, 233],
  statx: [332, 291],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  futex_waitv: [449, 449],
};

for (const [column, architecture] of (['x64', 'arm64'] as const).entries()) {
  suite(`filter for ${architecture}`, () => {
    const program = programFor(architecture, PATH_ADDRESS);
    const audit = AUDIT_ARCHITECTURES[architecture];
    const verdict = (number: number, ...args: bigint[]): number =>
      runBpf(program, { architecture: audit, number, args }).verdict;
    const examined = (name: keyof typeof EXAMINED_CALLS, ...args: bigint[]): number =>
      verdict(EXAMINED_CALLS[name][column], ...args);

    test('what is never needed is refused with EPERM, whatever the arguments', () => {
      for (const [name, numbers] of Object.entries(REFUSED_CALLS)) {
        if (numbers[column] === none) continue;
        assert.equal(verdict(numbers[column]), EPERM, name);
        assert.equal(verdict(numbers[column], 1n, BigInt(PATH_ADDRESS), 1n), EPERM, name);
      }
    });

    test('what Node needs is allowed, and nothing else is listed twice', () => {
      for (const [name, numbers] of Object.entries(NEEDED)) {
        assert.equal(verdict(numbers[column]), Verdict.ALLOW, name);
      }
      const listed = Object.values({
        ...REFUSED_CALLS,
        ...EXAMINED_CALLS,
        clone3: [CLONE3, CLONE3],
      })
        .map((numbers) => numbers[column])
        .filter((number) => number !== none);
      assert.equal(new Set(listed).size, listed.length);
    });

    test('calls that are not known are absent', () => {
      for (const number of [NEWEST_CALL + 1, 1000, 0x3fffffff])
        assert.equal(verdict(number), ENOSYS);
      assert.notEqual(verdict(NEWEST_CALL), ENOSYS);
      assert.equal(verdict(CLONE3), ENOSYS);
    });

    test('the numbers of another architecture end the process', () => {
      for (const other of [0, 0x40000003, 0x40000028, 0xc000003e ^ 0xc00000b7 ^ audit]) {
        const call = { architecture: other, number: 0 };
        assert.equal(runBpf(program, call).verdict, Verdict.KILL_PROCESS);
      }
    });

    test('threads may start, processes and namespaces may not', () => {
      const thread = 0x3d0f00n; // As pthread_create(3) has it.
      assert.equal(examined('clone', thread), Verdict.ALLOW);
      assert.equal(examined('clone', 17n), EPERM, 'fork: SIGCHLD alone');
      for (const bit of [7n, 17n, 25n, 26n, 27n, 28n, 29n, 30n]) {
        assert.equal(examined('clone', thread | (1n << bit)), EPERM, `CLONE_NEW* bit ${bit}`);
      }
    });

    test('one path may be removed: the one at the address', () => {
      const path = BigInt(PATH_ADDRESS);
      assert.equal(examined('unlinkat', AT_FDCWD, path, 0n), Verdict.ALLOW);
      assert.equal(examined('unlinkat', AT_FDCWD & 0xffffffffn, path, 0n), Verdict.ALLOW);
      assert.equal(examined('unlinkat', AT_FDCWD, path + 1n, 0n), EPERM);
      assert.equal(examined('unlinkat', AT_FDCWD, path + (1n << 32n), 0n), EPERM);
      assert.equal(examined('unlinkat', 5n, path, 0n), EPERM, 'in another folder');
      assert.equal(examined('unlinkat', AT_FDCWD, path, 0x200n), EPERM, 'AT_REMOVEDIR');
      const never = programFor(architecture, undefined);
      const call = { architecture: audit, number: EXAMINED_CALLS.unlinkat[column] };
      const args = [AT_FDCWD, path, 0n];
      assert.equal(runBpf(never, { ...call, args }).verdict, EPERM, 'no socket of its own');
    });

    test('signals and limits are for the process itself', () => {
      for (const name of ['kill', 'tgkill', 'rt_sigqueueinfo', 'rt_tgsigqueueinfo'] as const) {
        assert.equal(examined(name, BigInt(PID)), Verdict.ALLOW, name);
        for (const other of [1n, 0n, -1n, -BigInt(PID)]) {
          assert.equal(examined(name, other), EPERM, `${name} ${other}`);
        }
      }
      assert.equal(examined('prlimit64', 0n), Verdict.ALLOW);
      assert.equal(examined('prlimit64', 1n), EPERM);
    });

    test('a terminal can be asked, but not typed into', () => {
      assert.equal(examined('ioctl', 0n, 0x5401n), Verdict.ALLOW, 'TCGETS');
      assert.equal(examined('ioctl', 3n, 0x5421n), Verdict.ALLOW, 'FIONBIO');
      assert.equal(examined('ioctl', 0n, 0x5412n), EPERM, 'TIOCSTI');
      assert.equal(examined('ioctl', 0n, 0x1_0000_5412n), EPERM, 'TIOCSTI, upper half set');
      assert.equal(examined('ioctl', 0n, 0x541cn), EPERM, 'TIOCLINUX');
    });

    test('pairs of unix sockets may be made, others not', () => {
      assert.equal(examined('socketpair', 1n), Verdict.ALLOW);
      assert.equal(examined('socketpair', 2n), EPERM);
    });

    test('a verdict takes few steps', () => {
      for (let number = 0; number <= NEWEST_CALL; number++) {
        const { steps } = runBpf(program, { architecture: audit, number });
        assert.ok(steps <= MAX_STEPS, `${steps} steps for call ${number}`);
      }
    });
  });
}

test('x32 ends the process on x86-64', () => {
  const program = programFor('x64', undefined);
  for (const number of [0x40000000, 0x40000208, 0xffffffff]) {
    const call = { architecture: AUDIT_ARCHITECTURES.x64, number };
    assert.equal(runBpf(program, call).verdict, Verdict.KILL_PROCESS);
  }
});

function programFor(architecture: Architecture, removalAddress: number | undefined): Uint8Array {
  return seccompProgram(architecture, seccompRules({ architecture, pid: PID, removalAddress }));
}
