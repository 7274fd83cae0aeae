/**
 * The C library functions vhostkit calls, declared once.
 *
 * SAFETY: this table, and that of `native-cipher.ts`, are the only places where native code is
 * bound. Every argument of kind `address` is a number the caller got from a live `Mapping`; the callee may read or write there
 * for as long as its manual page says. `bytes` arguments must stay referenced by the caller until
 * the call returns. All functions return -1 and set errno on failure unless noted, and are called
 * from the thread that owns the arguments.
 */
import { createRequire } from 'node:module';
import { unsupportedPlatform } from './platform.ts';

/** How an argument crosses into C. `address`, `size` and `offset` are safe integers. */
type ArgumentKind = 'int' | 'uint' | 'address' | 'size' | 'offset' | 'string' | 'bytes';

type ArgumentValue<Kind> = Kind extends 'string'
  ? string
  : Kind extends 'bytes'
    ? NodeJS.ArrayBufferView | null
    : number;

type ArgumentValues<Kinds extends readonly ArgumentKind[]> = {
  -readonly [Index in keyof Kinds]: ArgumentValue<Kinds[Index]>;
};

const NATIVE_TYPES: Record<ArgumentKind, string> = {
  int: 'int',
  uint: 'uint',
  address: 'uintptr_t',
  size: 'size_t',
  offset: 'int64_t',
  string: 'str',
  bytes: 'void *',
};

/** Name -> [result, arguments]. The prototypes are those of the Linux manual pages. */
const FUNCTIONS = {
  _exit: ['int', ['int']],
  accept4: ['int', ['int', 'bytes', 'bytes', 'int']],
  bind: ['int', ['int', 'bytes', 'uint']],
  clock_gettime: ['int', ['int', 'address']],
  close: ['int', ['int']],
  connect: ['int', ['int', 'bytes', 'uint']],
  epoll_create1: ['int', ['int']],
  epoll_ctl: ['int', ['int', 'int', 'int', 'address']],
  epoll_wait: ['int', ['int', 'address', 'int', 'int']],
  eventfd: ['int', ['uint', 'int']],
  fallocate: ['int', ['int', 'int', 'offset', 'offset']],
  fchownat: ['int', ['int', 'string', 'uint', 'uint', 'int']],
  fcntl: ['int', ['int', 'int', 'bytes']],
  fdatasync: ['int', ['int']],
  fstatfs: ['int', ['int', 'bytes']],
  ftruncate: ['int', ['int', 'offset']],
  getsockopt: ['int', ['int', 'int', 'int', 'bytes', 'bytes']],
  getsockname: ['int', ['int', 'bytes', 'bytes']],
  getpeername: ['int', ['int', 'bytes', 'bytes']],
  getgrnam: ['address', ['string']],
  getpwnam: ['address', ['string']],
  ioctl: ['int', ['int', 'size', 'bytes']],
  listen: ['int', ['int', 'int']],
  lseek: ['offset', ['int', 'offset', 'int']],
  memcpy: ['address', ['address', 'address', 'size']],
  memfd_create: ['int', ['string', 'uint']],
  memmove: ['address', ['bytes', 'bytes', 'size']],
  memset: ['address', ['address', 'int', 'size']],
  mmap: ['address', ['address', 'size', 'int', 'int', 'int', 'offset']],
  munmap: ['int', ['address', 'size']],
  open: ['int', ['string', 'int', 'uint']],
  poll: ['int', ['address', 'uint', 'int']],
  pread: ['offset', ['int', 'address', 'size', 'offset']],
  preadv: ['offset', ['int', 'address', 'int', 'offset']],
  preadv2: ['offset', ['int', 'address', 'int', 'offset', 'int']],
  pwrite: ['offset', ['int', 'address', 'size', 'offset']],
  pwritev: ['offset', ['int', 'address', 'int', 'offset']],
  pwritev2: ['offset', ['int', 'address', 'int', 'offset', 'int']],
  read: ['offset', ['int', 'address', 'size']],
  recvmsg: ['offset', ['int', 'address', 'int']],
  sendmsg: ['offset', ['int', 'address', 'int']],
  socket: ['int', ['int', 'int', 'int']],
  socketpair: ['int', ['int', 'int', 'int', 'bytes']],
  statx: ['int', ['int', 'string', 'int', 'uint', 'bytes']],
  syscall: ['offset', ['offset', 'address', 'address', 'address', 'address', 'address', 'address']],
  umask: ['int', ['uint']],
  unlinkat: ['int', ['int', 'address', 'int']],
  write: ['offset', ['int', 'address', 'size']],
} as const satisfies FunctionTable;

type Functions = typeof FUNCTIONS;

/** C functions: name -> [result, arguments]. */
export type FunctionTable = Readonly<
  Record<string, readonly ['int' | 'address' | 'offset', readonly ArgumentKind[]]>
>;

/** Name of a bound C function. */
export type LibcName = keyof Functions;

/** Bound functions of a table. Results are safe integers: no call here returns more than 2^53. */
export type BoundFunctions<Table extends FunctionTable> = {
  readonly [Name in keyof Table]: (...args: ArgumentValues<Table[Name][1]>) => number;
};

/** The bound functions. */
export type Libc = BoundFunctions<Functions>;

type Koffi = typeof import('koffi');

function loadKoffi(): Koffi {
  const refusal = unsupportedPlatform();
  if (refusal !== undefined) throw new Error(refusal);
  // Not a static import: koffi has no binary for other platforms and fails obscurely there,
  // before the sentence above could be said.
  return createRequire(import.meta.url)('koffi');
}

const koffi = loadKoffi();

/** Bind functions that the process has, whichever library they are of. Throws if one is missing. */
export function bindFunctions<Table extends FunctionTable>(table: Table): BoundFunctions<Table> {
  const library = koffi.load(null);
  const bound: Record<string, unknown> = {};
  for (const [name, [result, args]] of Object.entries(table)) {
    // mmap's failure value is all ones: as a signed integer it is the -1 of all the others.
    const resultType = result === 'int' ? 'int' : 'int64_t';
    bound[name] = library.func(
      name,
      resultType,
      args.map((kind) => NATIVE_TYPES[kind]),
    );
  }
  return bound as BoundFunctions<Table>;
}

/** The C library. */
export const libc: Libc = bindFunctions(FUNCTIONS);

/** errno of the last call of this thread that failed. */
export function lastErrno(): number {
  return koffi.errno();
}

/**
 * An ArrayBuffer over native memory. Only `Mapping` calls this: it keeps the memory readable for
 * as long as any such buffer lives.
 */
export function viewMemory(address: number, sizeBytes: number): ArrayBuffer {
  return koffi.view(address, sizeBytes);
}
