/**
 * The messages with which a front-end sets up one ring, as bytes written by hand (vhost-user.rst):
 * what the tests send does not come from the code under test.
 */
import {
  closeAll,
  createEventFd,
  createMemfd,
  createSocketPair,
  type Fd,
} from '../../src/sys/index.ts';
import { packed, type RawFrontend, rawFrame } from './raw-frontend.ts';

/** One message: its number, payload and descriptors. */
export interface RawMessage {
  readonly name: keyof typeof Id;
  readonly id: number;
  readonly payload: Buffer;
  readonly fds: readonly Fd[];
  /** It has an answer of its own, whether one is asked for or not. */
  readonly hasReply: boolean;
}

export const RAM_BYTES = 2 ** 20;
export const GUEST_ADDRESS = 0x4000_0000n;
export const USER_ADDRESS = 0x7f00_0000_0000n;
/** Offsets of the ring's parts and of the rest in memory. */
export const RING = { size: 16, descriptors: 0, available: 4096, used: 8192, data: 16384 } as const;

/** Feature bits: PROTOCOL_FEATURES and VIRTIO_F_VERSION_1. */
const FEATURES = (1n << 30n) | (1n << 32n);
/** MQ, REPLY_ACK, BACKEND_REQ, CONFIG, RESET_DEVICE, CONFIGURE_MEM_SLOTS, STATUS. */
const PROTOCOL_FEATURES = 0b1_1010_0010_0010_1001n;

/** The message numbers used. */
export const Id = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  SET_MEM_TABLE: 5,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
} as const;

/** What a handshake shares with the server. */
export class RawResources implements Disposable {
  readonly memory: Fd = createMemfd('raw-ram', RAM_BYTES);
  readonly kick: Fd = createEventFd();
  readonly call: Fd = createEventFd();
  readonly err: Fd = createEventFd();
  readonly channel: readonly [Fd, Fd] = createSocketPair();

  [Symbol.dispose](): void {
    closeAll([this.memory, this.kick, this.call, this.err, ...this.channel]);
  }
}

/** Payload of SET_MEM_TABLE with one region. */
export function memoryTable(
  guest: bigint = GUEST_ADDRESS,
  size: bigint = BigInt(RAM_BYTES),
  user: bigint = USER_ADDRESS,
  offset = 0n,
): Buffer {
  return packed(1, 0, guest, size, user, offset);
}

/** Payload of SET_VRING_ADDR. */
export function ringAddresses(
  index = 0,
  descriptors: bigint = USER_ADDRESS + BigInt(RING.descriptors),
  available: bigint = USER_ADDRESS + BigInt(RING.available),
  used: bigint = USER_ADDRESS + BigInt(RING.used),
): Buffer {
  return packed(index, 0, descriptors, used, available, 0n);
}

const CONFIG_REQUEST = Buffer.concat([packed(0, 60, 0), Buffer.alloc(60)]);

/** All messages from the first to the one that makes the ring run, and the one that stops it. */
export function handshake(resources: RawResources): readonly RawMessage[] {
  const { memory, kick, call, err, channel } = resources;
  const say = (
    name: keyof typeof Id,
    payload: Buffer = Buffer.alloc(0),
    fds: readonly Fd[] = [],
  ): RawMessage => ({ name, id: Id[name], payload, fds, hasReply: name.startsWith('GET_') });
  return [
    say('GET_FEATURES'),
    say('GET_PROTOCOL_FEATURES'),
    say('SET_PROTOCOL_FEATURES', packed(PROTOCOL_FEATURES)),
    say('GET_QUEUE_NUM'),
    say('GET_MAX_MEM_SLOTS'),
    say('SET_OWNER'),
    say('SET_BACKEND_REQ_FD', undefined, [channel[1]]),
    say('GET_CONFIG', CONFIG_REQUEST),
    say('SET_FEATURES', packed(FEATURES)),
    say('SET_MEM_TABLE', memoryTable(), [memory]),
    say('SET_VRING_NUM', packed(0, RING.size)),
    say('SET_VRING_BASE', packed(0, 0)),
    say('SET_VRING_ADDR', ringAddresses()),
    say('SET_VRING_CALL', packed(0n), [call]),
    say('SET_VRING_ERR', packed(0n), [err]),
    say('SET_VRING_KICK', packed(0n), [kick]),
    say('SET_VRING_ENABLE', packed(0, 1)),
    say('SET_STATUS', packed(15n)),
    say('GET_VRING_BASE', packed(0, 0)),
  ];
}

/** Send the handshake as far as, and including, a message; all later ones are acknowledged. */
export async function shakeHands(
  raw: RawFrontend,
  resources: RawResources,
  last: keyof typeof Id,
): Promise<void> {
  let isAcknowledged = false;
  for (const { name, id, payload, fds, hasReply } of handshake(resources)) {
    if (hasReply || isAcknowledged) await raw.ask(id, payload, fds);
    else raw.send(rawFrame(id, payload), fds);
    if (name === 'SET_PROTOCOL_FEATURES') isAcknowledged = true;
    if (name === last) return;
  }
}

/** The names of the handshake's messages, in order. */
export function standardMessageNames(): readonly (keyof typeof Id)[] {
  using resources = new RawResources();
  return handshake(resources).map(({ name }) => name);
}
