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

/** A guest and what it is to do. */
export interface GuestOptions {
  /**
   * Shell script (POSIX sh, run by root) with the functions `check NAME COMMAND...`,
   * `fact NAME VALUE...` and `host NAME`. Disks are /dev/vda, /dev/vdb, ... in order.
   */
  readonly script: string;
  /** Default: none. */
  readonly disks?: readonly GuestDisk[];
  /** Virtual CPUs; default 2. */
  readonly vcpus?: number;
  /** Default 512; 128 is enough without fio, 384 with it. */
  readonly memoryMiB?: number;
  /** Have fio in the guest, which costs about a second of boot; default false. */
  readonly fio?: boolean;
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
  /** Further arguments for the guest's kernel; default: none. */
  readonly kernelArguments?: readonly string[];
}

/** How a guest's processors run: on the host's, or emulated by QEMU. */
export type Accelerator = 'kvm' | 'tcg';

/** Where the guest's kernel and root are. */
export interface BootFiles {
  readonly kernelPath: string;
  readonly initrdPath: string;
}

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

/** QEMU's arguments for a guest. */
export function qemuArguments(
  options: GuestOptions,
  files: BootFiles,
  accelerator: Accelerator,
): string[] {
  const memoryMiB = options.memoryMiB ?? DEFAULT_MEMORY_MIB;
  const kernelArguments = [...KERNEL_ARGUMENTS, ...(options.kernelArguments ?? [])];
  const settings = [
    ['-display', 'none'],
    ['-accel', accelerator],
    ['-machine', 'q35'],
    ['-cpu', 'max'],
    ['-smp', String(options.vcpus ?? DEFAULT_VCPUS)],
    ['-m', `${memoryMiB}M`],
    // The back-end maps the guest's memory: it has to be a file and shared.
    ['-object', `memory-backend-memfd,id=mem,size=${memoryMiB}M,share=on`],
    ['-numa', 'node,memdev=mem'],
    ['-kernel', files.kernelPath],
    ['-initrd', files.initrdPath],
    ['-append', kernelArguments.join(' ')],
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
