/** Feature bits of the protocol itself (vhost-user.rst, "Protocol features"). */

/** VHOST_USER_F_PROTOCOL_FEATURES: the bit among the virtio features that says there are others. */
export const F_PROTOCOL_FEATURES = 30;
/** VHOST_F_LOG_ALL, among the virtio features too: log writes to guest memory. */
export const F_LOG_ALL = 26;

/** Bit numbers. Those that concern other devices only are here for log lines. */
export const ProtocolFeature = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
  XEN_MMAP: 17,
  SHARED_OBJECT: 18,
  DEVICE_STATE: 19,
  GET_VRING_BASE_INFLIGHT: 20,
  GPA_ADDRESSES: 21,
  SHMEM: 22,
  GET_VRING_BASE_SKIP_DRAIN: 23,
} as const;

export type ProtocolFeatureName = keyof typeof ProtocolFeature;

/** A set of protocol features. */
export function protocolFeatureSet(names: readonly ProtocolFeatureName[]): bigint {
  return names.reduce((set, name) => set | (1n << BigInt(ProtocolFeature[name])), 0n);
}

/** Whether a set has a feature. */
export function hasProtocolFeature(set: bigint, name: ProtocolFeatureName): boolean {
  return (set & (1n << BigInt(ProtocolFeature[name]))) !== 0n;
}

/** The names in a set, for log lines; bits without a name as `bit 40`. */
export function protocolFeatureNames(set: bigint): string[] {
  const known = new Map<number, string>(
    Object.entries(ProtocolFeature).map(([name, bit]) => [bit, name]),
  );
  const names: string[] = [];
  for (let bit = 0; set >> BigInt(bit) !== 0n; bit++) {
    if (((set >> BigInt(bit)) & 1n) === 1n) names.push(known.get(bit) ?? `bit ${bit}`);
  }
  return names;
}
