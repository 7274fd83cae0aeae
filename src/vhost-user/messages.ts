/**
 * The messages of the vhost-user protocol that concern a block device, declared once. From these
 * declarations come the codec, the size and descriptor checks, the rules about what was negotiated,
 * the text for logs, and the random messages of the tests.
 *
 * Names and numbers are those of QEMU's docs/interop/vhost-user.rst.
 */
import { empty, items, type Payload, type PayloadValue, single, withBytes } from './payload.ts';
import type { ProtocolFeatureName } from './protocol-features.ts';
import { field, Struct, type StructValue } from './struct.ts';

/** Most regions in one SET_MEM_TABLE. */
export const MAX_TABLE_REGIONS = 8;
/** Most bytes of configuration space in one message (as in QEMU and libvhost-user). */
export const MAX_CONFIG_BYTES = 256;
/** In messages that carry a descriptor for a ring: no descriptor, look at the ring yourself. */
export const VRING_NO_FD_BIT: bigint = 1n << 8n;
/** In the same messages: the bits of the ring's index. */
export const VRING_INDEX_MASK = 0xffn;
/** VHOST_VRING_F_LOG, in the flags of SET_VRING_ADDR: log writes to the used ring. */
export const VRING_LOG_FLAG = 1;

/** SET_CONFIG flag: live migration restores the whole space. */
export const CONFIG_FLAG_MIGRATION = 1;

const u64 = single(new Struct('u64', { value: field('u64', 'a number or a set of bits') }));

/** The answer to messages without one of their own: 0, or something else for a refusal. */
export const acknowledgement: typeof u64 = u64;

const vringState = new Struct('vring state', {
  index: field('u32', 'the ring'),
  num: field('u32', 'a size, an index or a switch'),
});

const vringAddress = new Struct('vring address', {
  index: field('u32', 'the ring'),
  flags: field('u32', 'bit 0: log writes to the used ring'),
  descriptor: field('size64', 'user address of the descriptor table'),
  used: field('size64', 'user address of the used ring'),
  available: field('size64', 'user address of the available ring'),
  log: field('u64', 'guest address at which to log the used ring'),
});

const region = {
  guestAddress: field('size64', 'guest address of the first byte'),
  sizeBytes: field('size64', 'size of the region'),
  userAddress: field('size64', 'address of the first byte in the front-end'),
  mmapOffset: field('size64', 'where in the file the region starts'),
} as const;
const memoryRegion = new Struct('memory region', region);
const memoryTable = new Struct('memory table', {
  count: field('u32', 'number of regions'),
  padding: field('u32', ''),
});
const singleRegion = new Struct('single region', { padding: field('size64', ''), ...region });

const logArea = new Struct('log', {
  sizeBytes: field('size64', 'size of the log'),
  offset: field('size64', 'where in the file it starts'),
});

const iotlb = new Struct('iotlb', {
  iova: field('u64', 'I/O virtual address'),
  sizeBytes: field('u64', 'size of the mapping'),
  userAddress: field('u64', 'address in the front-end'),
  permission: field('u8', '0 none, 1 read, 2 write, 3 both'),
  type: field('u8', '1 miss, 2 update, 3 invalidate, 4 access failed'),
});

const config = withBytes(
  new Struct('config', {
    offset: field('u32', 'first byte of the configuration space'),
    size: field('u32', 'number of bytes'),
    flags: field('u32', '0: written by the driver, 1: by live migration'),
  }),
  MAX_CONFIG_BYTES,
);

const inflight = new Struct('inflight', {
  mmapSize: field('size64', 'size of the region'),
  mmapOffset: field('size64', 'where in the file it starts'),
  numQueues: field('u16', 'number of rings'),
  queueSize: field('u16', 'size of each'),
  // Not in the specification; all implementations send a struct as their compiler lays it out.
  padding: field('u32', ''),
});

const deviceState = new Struct('device state', {
  direction: field('u32', '0 save, 1 load'),
  phase: field('u32', '0 stopped'),
});

/** How many descriptors come with a message. */
interface FdCount {
  readonly min: number;
  readonly max: number;
}
const NO_FDS: FdCount = { min: 0, max: 0 };
const ONE_FD: FdCount = { min: 1, max: 1 };
const MAYBE_FD: FdCount = { min: 0, max: 1 };

/** What must have been negotiated before a message may come. */
export type Requirement = ProtocolFeatureName | 'PROTOCOL_FEATURES';

/** A message: what goes one way and what may come back. */
export interface MessageDeclaration<Request = never, Reply = never> {
  readonly id: number;
  readonly request: Payload<Request>;
  /** Absent: the only answer is an acknowledgement, if one was asked for. */
  readonly reply?: Payload<Reply>;
  readonly fds: FdCount;
  readonly needs?: Requirement;
}

interface Extras<Reply> {
  readonly reply?: Payload<Reply>;
  readonly fds?: FdCount;
  readonly needs?: Requirement;
}

function message<Request, Reply = never>(
  id: number,
  request: Payload<Request>,
  extras: Extras<Reply> = {},
): MessageDeclaration<Request, Reply> {
  return { id, request, fds: NO_FDS, ...extras };
}

/** From front-end to back-end. */
export const FrontendMessages = {
  GET_FEATURES: message(1, empty, { reply: u64 }),
  SET_FEATURES: message(2, u64),
  SET_OWNER: message(3, empty),
  RESET_OWNER: message(4, empty),
  SET_MEM_TABLE: message(5, items(memoryTable, memoryRegion, MAX_TABLE_REGIONS), {
    fds: { min: 0, max: MAX_TABLE_REGIONS },
  }),
  SET_LOG_BASE: message(6, single(logArea), { reply: u64, fds: ONE_FD, needs: 'LOG_SHMFD' }),
  SET_LOG_FD: message(7, empty, { fds: ONE_FD, needs: 'LOG_SHMFD' }),
  SET_VRING_NUM: message(8, single(vringState)),
  SET_VRING_ADDR: message(9, single(vringAddress)),
  SET_VRING_BASE: message(10, single(vringState)),
  GET_VRING_BASE: message(11, single(vringState), { reply: single(vringState) }),
  SET_VRING_KICK: message(12, u64, { fds: MAYBE_FD }),
  SET_VRING_CALL: message(13, u64, { fds: MAYBE_FD }),
  SET_VRING_ERR: message(14, u64, { fds: MAYBE_FD }),
  GET_PROTOCOL_FEATURES: message(15, empty, { reply: u64 }),
  SET_PROTOCOL_FEATURES: message(16, u64),
  GET_QUEUE_NUM: message(17, empty, { reply: u64, needs: 'MQ' }),
  SET_VRING_ENABLE: message(18, single(vringState), { needs: 'PROTOCOL_FEATURES' }),
  SET_BACKEND_REQ_FD: message(21, empty, { fds: ONE_FD, needs: 'BACKEND_REQ' }),
  IOTLB_MSG: message(22, single(iotlb), { reply: u64 }),
  SET_VRING_ENDIAN: message(23, single(vringState), { needs: 'CROSS_ENDIAN' }),
  GET_CONFIG: message(24, config, { reply: config, needs: 'CONFIG' }),
  SET_CONFIG: message(25, config, { needs: 'CONFIG' }),
  POSTCOPY_ADVISE: message(28, empty, { reply: empty, needs: 'PAGEFAULT' }),
  POSTCOPY_LISTEN: message(29, empty, { needs: 'PAGEFAULT' }),
  POSTCOPY_END: message(30, empty, { reply: u64, needs: 'PAGEFAULT' }),
  GET_INFLIGHT_FD: message(31, single(inflight), {
    reply: single(inflight),
    needs: 'INFLIGHT_SHMFD',
  }),
  SET_INFLIGHT_FD: message(32, single(inflight), { fds: ONE_FD, needs: 'INFLIGHT_SHMFD' }),
  RESET_DEVICE: message(34, empty, { needs: 'RESET_DEVICE' }),
  VRING_KICK: message(35, single(vringState), { needs: 'INBAND_NOTIFICATIONS' }),
  GET_MAX_MEM_SLOTS: message(36, empty, { reply: u64, needs: 'CONFIGURE_MEM_SLOTS' }),
  ADD_MEM_REG: message(37, single(singleRegion), { fds: ONE_FD, needs: 'CONFIGURE_MEM_SLOTS' }),
  REM_MEM_REG: message(38, single(singleRegion), { fds: MAYBE_FD, needs: 'CONFIGURE_MEM_SLOTS' }),
  SET_STATUS: message(39, u64, { needs: 'STATUS' }),
  GET_STATUS: message(40, empty, { reply: u64, needs: 'STATUS' }),
  SET_DEVICE_STATE_FD: message(42, single(deviceState), {
    reply: u64,
    fds: ONE_FD,
    needs: 'DEVICE_STATE',
  }),
  CHECK_DEVICE_STATE: message(43, empty, { reply: u64, needs: 'DEVICE_STATE' }),
  GET_VRING_BASE_SKIP_DRAIN: message(45, single(vringState), {
    reply: single(vringState),
    needs: 'GET_VRING_BASE_SKIP_DRAIN',
  }),
} as const;

/** From back-end to front-end, on the channel that SET_BACKEND_REQ_FD opens. */
export const BackendMessages = {
  IOTLB_MSG: message(1, single(iotlb)),
  CONFIG_CHANGE_MSG: message(2, empty),
  VRING_CALL: message(4, single(vringState), { needs: 'INBAND_NOTIFICATIONS' }),
  VRING_ERR: message(5, single(vringState), { needs: 'INBAND_NOTIFICATIONS' }),
} as const;

/** Messages for other kinds of devices, by number: they are refused by name. */
export const OTHER_DEVICES_MESSAGES: ReadonlyMap<number, string> = new Map([
  [19, 'SEND_RARP'],
  [20, 'NET_SET_MTU'],
  [26, 'CREATE_CRYPTO_SESSION'],
  [27, 'CLOSE_CRYPTO_SESSION'],
  [33, 'GPU_SET_SOCKET'],
  [41, 'GET_SHARED_OBJECT'],
  [44, 'GET_SHMEM_CONFIG'],
]);

export type FrontendMessageName = keyof typeof FrontendMessages;
export type BackendMessageName = keyof typeof BackendMessages;

/** What a front-end's message carries, and what answers it. */
export type RequestOf<Name extends FrontendMessageName> = PayloadValue<
  (typeof FrontendMessages)[Name]['request']
>;
export type ReplyOf<Name extends FrontendMessageName> =
  (typeof FrontendMessages)[Name] extends MessageDeclaration<infer _Request, infer Reply>
    ? Reply
    : never;

/** Every front-end message with its payload, told apart by `name`. */
export type FrontendRequest = {
  [Name in FrontendMessageName]: { readonly name: Name; readonly payload: RequestOf<Name> };
}[FrontendMessageName];

/** A region of guest memory as messages describe it. */
export type RegionDescription = StructValue<typeof region>;

const NAME_BY_ID: ReadonlyMap<number, FrontendMessageName> = new Map(
  Object.entries(FrontendMessages).map(([name, { id }]) => [id, name as FrontendMessageName]),
);

/** The name of a front-end message, if it is one that concerns block devices. */
export function frontendMessageName(id: number): FrontendMessageName | undefined {
  return NAME_BY_ID.get(id);
}

/** A declaration with its types forgotten: for code that handles any message. */
export function declarationOf(name: FrontendMessageName): MessageDeclaration<unknown, unknown> {
  return FrontendMessages[name] as MessageDeclaration<unknown, unknown>;
}
