/** What a front-end has set up with a fake back-end: memory, one ring, and the other channel. */
import {
  closeAll,
  drainEvent,
  type Fd,
  Mapping,
  receiveMessage,
  sendMessage,
  signalEvent,
} from '../../src/sys/index.ts';
import type { FakeMessage } from './fake-backend.ts';
import { rawFrame } from './raw-frontend.ts';

const CONFIG_CHANGE_MSG = 2;

interface Region {
  readonly userAddress: number;
  readonly mapping: Mapping;
}

/** See the module's comment. */
export class FakeDevice implements Disposable {
  readonly #regions: Region[] = [];
  readonly #fds: Fd[] = [];
  readonly #byName = new Map<string, Fd>();
  #size = 0;
  #descriptors = 0;
  #used = 0;
  #available = 0;
  #usedIdx = 0;

  /** Takes the message's descriptors over. */
  take({ name, payload, fds }: FakeMessage): void {
    this.#fds.push(...fds);
    if (fds.length > 0) this.#byName.set(name, fds[0]);
    if (name === 'SET_VRING_NUM') this.#size = payload.readUInt32LE(4);
    if (name === 'SET_VRING_ADDR') {
      this.#descriptors = Number(payload.readBigUInt64LE(8));
      this.#used = Number(payload.readBigUInt64LE(16));
      this.#available = Number(payload.readBigUInt64LE(24));
    }
    if (name !== 'ADD_MEM_REG') return;
    const [sizeBytes, userAddress, offset] = [16, 24, 32].map((at) =>
      Number(payload.readBigUInt64LE(at)),
    );
    this.#regions.push({ userAddress, mapping: Mapping.ofFile(fds[0].number, offset, sizeBytes) });
  }

  /** How many regions of memory it was given. */
  get regions(): number {
    return this.#regions.length;
  }

  #view(address: number, sizeBytes: number): DataView {
    for (const { userAddress, mapping } of this.#regions) {
      const offset = address - userAddress;
      if (offset >= 0 && offset + sizeBytes <= mapping.sizeBytes) {
        return new DataView(mapping.view(offset, sizeBytes));
      }
    }
    throw new Error(`no region has address ${address}`);
  }

  /** How many chains the driver has put on the ring. */
  get availableCount(): number {
    return this.#view(this.#available, 4).getUint16(2, true);
  }

  /** Head of the chain of a number. */
  head(number: number): number {
    return this.#view(this.#available, 4 + 2 * this.#size).getUint16(4 + 2 * number, true);
  }

  /** A chain's descriptors, which are in an indirect table. */
  #chain(head: number): DataView {
    const table = this.#view(this.#descriptors + 16 * head, 16);
    return this.#view(Number(table.getBigUint64(0, true)), table.getUint32(8, true));
  }

  /** The type of the request in a chain (`RequestType`). */
  requestType(head: number): number {
    return this.#view(Number(this.#chain(head).getBigUint64(0, true)), 16).getUint32(0, true);
  }

  /** Write a chain's status byte: the last descriptor. */
  setStatus(head: number, status: number): void {
    const chain = this.#chain(head);
    const at = Number(chain.getBigUint64(chain.byteLength - 16, true));
    this.#view(at, 1).setUint8(0, status);
  }

  /** Answer the chain of a number with success. Returns the type of its request. */
  answer(number: number): number {
    const head = this.head(number);
    const type = this.requestType(head);
    this.setStatus(head, 0);
    this.use(head);
    return type;
  }

  /** Put an entry on the used ring and show it; `skip` more than that if the index is to lie. */
  use(head: number, skip = 0): void {
    const used = this.#view(this.#used, 4 + 8 * this.#size);
    used.setUint32(4 + 8 * (this.#usedIdx % this.#size), head, true);
    this.#usedIdx += 1;
    used.setUint16(2, (this.#usedIdx + skip) & 0xffff, true);
    this.signal('SET_VRING_CALL');
  }

  /** Signal the eventfd that came with a message. */
  signal(name: 'SET_VRING_CALL' | 'SET_VRING_ERR'): void {
    signalEvent(this.#fd(name).number);
  }

  /** Whether the driver has kicked since the last time. */
  takeKick(): boolean {
    return drainEvent(this.#fd('SET_VRING_KICK').number) > 0;
  }

  #fd(name: string): Fd {
    const fd = this.#byName.get(name);
    if (fd === undefined) throw new Error(`no descriptor came with ${name}`);
    return fd;
  }

  /** Bytes on the channel on which the back-end speaks first. */
  sayOnBackendChannel(bytes: Uint8Array): void {
    sendMessage(this.#fd('SET_BACKEND_REQ_FD').number, bytes);
  }

  /** Whether the front-end has said something there. */
  hasBackendChannelReply(): boolean {
    const { number } = this.#fd('SET_BACKEND_REQ_FD');
    return (receiveMessage(number, new Uint8Array(64))?.bytes ?? 0) > 0;
  }

  sendConfigChange(): void {
    this.sayOnBackendChannel(rawFrame(CONFIG_CHANGE_MSG));
  }

  [Symbol.dispose](): void {
    for (const { mapping } of this.#regions) mapping.close();
    closeAll(this.#fds);
  }
}
