/**
 * Numbers of the system calls that a confined process is refused (or some uses of them): those of
 * x86-64 (arch/x86/entry/syscalls/syscall_64.tbl) and of arm64 (include/uapi/asm-generic/unistd.h),
 * by what they are for. `none`: the architecture does not have the call. From 424 on the numbers
 * are the same everywhere.
 */
import { NEWER_CALLS } from './newer-system-calls.ts';

export const none = -1;

/** Numbers by architecture. */
export type CallNumbers = Readonly<Record<string, readonly [x64: number, arm64: number]>>;

/** Another program in this process's place. */
const EXECUTION = { execve: [59, 221], execveat: [322, 281] } as const;

/** Processes of its own. Threads come by clone, which is looked at more closely. */
const PROCESSES = { fork: [57, none], vfork: [58, none] } as const;

/** Looking into other processes, and reaching them. */
const OTHER_PROCESSES = {
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  kcmp: [312, 272],
  migrate_pages: [256, 238],
  move_pages: [279, 239],
  tkill: [200, 130],
} as const;

/** Opening files: all that is served is open by now. */
const OPENING = {
  open: [2, none],
  openat: [257, 56],
  creat: [85, none],
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  uselib: [134, none],
} as const;

/** Changing what is named in file systems, or what the files are. */
const NAMES_AND_ATTRIBUTES = {
  unlink: [87, none],
  rmdir: [84, none],
  mkdir: [83, none],
  mkdirat: [258, 34],
  mknod: [133, none],
  mknodat: [259, 33],
  link: [86, none],
  linkat: [265, 37],
  symlink: [88, none],
  symlinkat: [266, 36],
  rename: [82, none],
  renameat: [264, 38],
  renameat2: [316, 276],
  truncate: [76, 45],
  chmod: [90, none],
  fchmod: [91, 52],
  fchmodat: [268, 53],
  chown: [92, none],
  lchown: [94, none],
  fchown: [93, 55],
  fchownat: [260, 54],
  utime: [132, none],
  utimes: [235, none],
  futimesat: [261, none],
  utimensat: [280, 88],
  setxattr: [188, 5],
  lsetxattr: [189, 6],
  fsetxattr: [190, 7],
  removexattr: [197, 14],
  lremovexattr: [198, 15],
  fremovexattr: [199, 16],
  chdir: [80, 49],
  fchdir: [81, 50],
} as const;

/** New ways to others: clients are accepted from the socket there is. */
const NETWORK = {
  socket: [41, 198],
  bind: [49, 200],
  connect: [42, 203],
  listen: [50, 201],
} as const;

/** The view of the system, and who this process is. */
const PRIVILEGES = {
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  setns: [308, 268],
  unshare: [272, 97],
  setuid: [105, 146],
  setgid: [106, 144],
  setreuid: [113, 145],
  setregid: [114, 143],
  setresuid: [117, 147],
  setresgid: [119, 149],
  setfsuid: [122, 151],
  setfsgid: [123, 152],
  setgroups: [116, 159],
  capset: [126, 91],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  personality: [135, 92],
} as const;

/** Administration of the machine. */
const ADMINISTRATION = {
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  reboot: [169, 142],
  swapon: [167, 224],
  swapoff: [168, 225],
  acct: [163, 89],
  syslog: [103, 116],
  quotactl: [179, 60],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  clock_adjtime: [305, 266],
  adjtimex: [159, 171],
  vhangup: [153, 58],
  ioperm: [173, none],
  iopl: [172, none],
  modify_ldt: [154, none],
} as const;

/** Parts of the kernel that this process has no use for, and that had more than their share of faults. */
const KERNEL_SURFACE = {
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  fanotify_init: [300, 262],
  fanotify_mark: [301, 263],
  inotify_init: [253, none],
  inotify_init1: [294, 26],
  inotify_add_watch: [254, 27],
  io_setup: [206, 0],
  io_submit: [209, 2],
  vmsplice: [278, 75],
  splice: [275, 76],
  tee: [276, 77],
  shmget: [29, 194],
  shmat: [30, 196],
  shmctl: [31, 195],
  semget: [64, 190],
  semop: [65, 193],
  semctl: [66, 191],
  msgget: [68, 186],
  msgsnd: [69, 189],
  msgrcv: [70, 188],
  msgctl: [71, 187],
  mq_open: [240, 180],
  mq_unlink: [241, 181],
} as const;

/** Refused whatever the arguments. */
export const REFUSED_CALLS: CallNumbers = {
  ...EXECUTION,
  ...PROCESSES,
  ...OTHER_PROCESSES,
  ...OPENING,
  ...NAMES_AND_ATTRIBUTES,
  ...NETWORK,
  ...PRIVILEGES,
  ...ADMINISTRATION,
  ...KERNEL_SURFACE,
  ...NEWER_CALLS,
};

/** Let through or not by their arguments: see seccomp-policy.ts. */
export const EXAMINED_CALLS = {
  clone: [56, 220],
  ioctl: [16, 29],
  kill: [62, 129],
  tgkill: [234, 131],
  rt_sigqueueinfo: [129, 138],
  rt_tgsigqueueinfo: [297, 240],
  prlimit64: [302, 261],
  socketpair: [53, 199],
  unlinkat: [263, 35],
} as const satisfies CallNumbers;

/** Its arguments are in memory, where a filter cannot look; callers fall back to `clone`. */
export const CLONE3 = 435;
