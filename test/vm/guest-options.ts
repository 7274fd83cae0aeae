/**
 * What a guest is made of, and QEMU's arguments for it.
 */
import { qemuValue } from '../support/tied-process.ts';

/** A disk of the guest: a vhost-user-blk back-end that listens on a socket. */
export interface GuestDisk {
  readonly socketPath: string;
  /** Virtqueues; default: QEMU's, one per virtual CPU. */
  readonly numQueues?: number;
  /** Descriptors per virtqueue; default: QEMU's, 128. */
  readonly queueSize?: number;
  /** Connect again so long after the back-end has gone; default: never. */
  readonly reconnectSeconds?: number;
  /** Further properties of QEMU's device vhost-user-blk-pci, e.g. `{ packed: 'on' }`. */
  readonly properties?: Readonly<Record<string, string | number>>;
}

/** What the host does when the script says `host NAME`; the result is the guest's $host_reply. */
export type HostStep = () => Promise<string | undefined> | Promise<void>;

/** A machine, whatever it boots. */
export interface MachineOptions {
  /** Default: none. */
  readonly disks?: readonly GuestDisk[];
  /** Virtual CPUs; default 2. */
  readonly vcpus?: number;
  /** Default 512; 128 is enough without fio, 384 with it. */
  readonly memoryMiB?: number;
  /** Steps of the host by name; default: none. */
  readonly hostSteps?: Readonly<Record<string, HostStep>>;
  /**
   * For a machine that takes over a guest of another one (`-incoming`): the answer to the step
   * for which the guest waits, which it asked the other machine for. Sent once the promise resolves.
   */
  readonly incomingReply?: Promise<string>;
  /** From the start of QEMU to its end; default 120 s. */
  readonly timeoutMs?: number;
  /** Ends the guest early, e.g. a test's own signal. */
  readonly signal?: AbortSignal;
  /** Further arguments for QEMU; default: none. */
  readonly qemuArguments?: readonly string[];
}

/** What the guest on a machine is to do. */
export interface GuestTask {
  /**
   * Shell script (POSIX sh, run by root) with the functions `check NAME COMMAND...`,
   * `fact NAME VALUE...` and `host NAME`. Disks are /dev/vda, /dev/vdb, ... in order.
   */
  readonly script: string;
  /** Have fio in the guest, which costs about a second of boot; default false. */
  readonly fio?: boolean;
  /** Further arguments for the guest's kernel; default: none. */
  readonly kernelArguments?: readonly string[];
}

/** A machine whose guest QEMU loads, and what the guest is to do. */
export interface GuestOptions extends MachineOptions, GuestTask {}

/** How a guest's processors run: on the host's, or emulated by QEMU. */
export type Accelerator = 'kvm' | 'tcg';

/** A kernel and its root that QEMU puts into the guest's memory. */
export interface LoadedKernel {
  readonly kind: 'kernel';
  readonly kernelPath: string;
  readonly initrdPath: string;
  /** The kernel's command line. */
  readonly commandLine: string;
}

/** Firmware, which gets all else from the machine's disks. */
export interface Firmware {
  readonly kind: 'firmware';
  readonly firmwarePath: string;
}

/** What a machine starts with. */
export type MachineStart = LoadedKernel | Firmware;

/** The file descriptor of QEMU that is the guest's second serial port. */
export const REPORT_FD = 3;

const DEFAULT_VCPUS = 2;
const DEFAULT_MEMORY_MIB = 512;

const KERNEL_ARGUMENTS = [
  'console=ttyS0',
  'quiet',
  // Restart at once, which -no-reboot makes QEMU's end.
  'panic=-1',
  // A bug in a driver must not be survived unnoticed.
  'oops=panic',
  // On a busy host an emulated timer may look broken.
  'no_timer_check',
];

/**
 * QEMU before 8.1 may keep code that another emulated processor has just changed: a kernel that
 * exchanges its own instructions, as Linux does, then panics at a breakpoint that is not there any
 * more ("Oops: int3"). With one thread for all processors that cannot be.
 */
const ACCELERATORS: Record<Accelerator, string> = { kvm: 'kvm', tcg: 'tcg,thread=single' };

/**
 * QEMU 7.2 emulates CMPXCHG16B so that an operand of an earlier instruction is left in the flags,
 * until another instruction sets them: an interrupt in between returns with those, and Linux, which
 * allocates memory by it, ends with a double fault. Without CX16 it does not.
 */
const PROCESSORS: Record<Accelerator, string> = { kvm: 'max', tcg: 'max,-cx16' };

/**
 * What a guest has beyond its whole MiB. QEMU before 9.0 forgets, when it has collected which pages of
 * a migrating machine have changed, to have emulated processors mark what they change after that:
 * but only where memory is a multiple of 256 KiB, for which it has a faster way. Guests die of it.
 */
const ODD_MEMORY_KIB = 64;

/** The command line of a guest's kernel. */
export function kernelCommandLine(task: GuestTask): string {
  return [...KERNEL_ARGUMENTS, ...(task.kernelArguments ?? [])].join(' ');
}

/** QEMU's arguments for a machine. */
export function qemuArguments(
  options: MachineOptions,
  start: MachineStart,
  accelerator: Accelerator,
): string[] {
  const memory = `${(options.memoryMiB ?? DEFAULT_MEMORY_MIB) * 1024 + ODD_MEMORY_KIB}K`;
  const settings = [
    ['-display', 'none'],
    ['-accel', ACCELERATORS[accelerator]],
    ['-machine', 'q35'],
    ['-cpu', PROCESSORS[accelerator]],
    ['-smp', String(options.vcpus ?? DEFAULT_VCPUS)],
    ['-m', memory],
    // The back-end maps the guest's memory: it has to be a file and shared.
    ['-object', `memory-backend-memfd,id=mem,size=${memory},share=on`],
    ['-numa', 'node,memdev=mem'],
    ...startSettings(start),
    // The order of the serial ports is theirs in the guest: ttyS0, ttyS1.
    ['-chardev', 'stdio,id=console,signal=off'],
    ['-serial', 'chardev:console'],
    ['-chardev', `socket,id=report,fd=${REPORT_FD}`],
    ['-serial', 'chardev:report'],
    ...(options.disks ?? []).flatMap(diskSettings),
  ];
  const switches = ['-nodefaults', '-no-user-config', '-no-reboot'];
  return [...switches, ...settings.flat(), ...(options.qemuArguments ?? [])];
}

function startSettings(start: MachineStart): string[][] {
  if (start.kind === 'firmware') return [['-bios', start.firmwarePath]];
  return [
    ['-kernel', start.kernelPath],
    ['-initrd', start.initrdPath],
    ['-append', start.commandLine],
  ];
}

function diskSettings(disk: GuestDisk, index: number): string[][] {
  const chardev = ['socket', `id=disk${index}`, `path=${qemuValue(disk.socketPath)}`];
  if (disk.reconnectSeconds !== undefined) chardev.push(`reconnect=${disk.reconnectSeconds}`);
  const device = ['vhost-user-blk-pci', `id=vblk${index}`, `chardev=disk${index}`];
  if (disk.numQueues !== undefined) device.push(`num-queues=${disk.numQueues}`);
  if (disk.queueSize !== undefined) device.push(`queue-size=${disk.queueSize}`);
  for (const [name, value] of Object.entries(disk.properties ?? {})) {
    device.push(`${name}=${qemuValue(String(value))}`);
  }
  return [
    ['-chardev', chardev.join(',')],
    ['-device', device.join(',')],
  ];
}
