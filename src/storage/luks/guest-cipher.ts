/**
 * Encryption between a request's memory, which is in pieces of any length, and a lane's. Where each
 * piece has whole sectors, they are encrypted and decrypted on the way; else they are copied.
 */
import type { DiskRequests } from '../disk-requests.ts';
import { IV_UNIT_BYTES } from './cipher-spec.ts';
import type { SectorCipher } from './sector-cipher.ts';

/** See the module's comment. The methods return whether it could be done. */
export class GuestCipher {
  readonly #requests: DiskRequests;
  readonly #cipher: SectorCipher;
  readonly #sectorMask: number;

  constructor(requests: DiskRequests, cipher: SectorCipher, sectorBytes: number) {
    this.#requests = requests;
    this.#cipher = cipher;
    this.#sectorMask = sectorBytes - 1;
  }

  /**
   * Encrypt a part of a request's memory into a lane.
   *
   * @param at - where in the request the part begins.
   * @param number - of its first sector.
   */
  encrypt(slot: number, at: number, bytes: number, lane: number, number: number): boolean {
    if (this.#goToWholeSectors(slot, at, bytes)) {
      return this.#eachSegment(slot, bytes, lane, number, true);
    }
    this.gather(slot, at, bytes, lane);
    return this.#cipher.encrypt(lane, lane, bytes, number);
  }

  /** Decrypt a lane into a part of a request's memory. */
  decrypt(slot: number, at: number, bytes: number, lane: number, number: number): boolean {
    if (this.#goToWholeSectors(slot, at, bytes)) {
      return this.#eachSegment(slot, bytes, lane, number, false);
    }
    if (!this.#cipher.decrypt(lane, lane, bytes, number)) return false;
    this.scatter(slot, at, bytes, lane);
    return true;
  }

  /** Copy a part of a request's memory to an address. */
  gather(slot: number, at: number, bytes: number, target: number): void {
    this.#seek(slot, at);
    this.#requests.iovecs.gather(slot, target, bytes);
  }

  /** Copy from an address to a part of a request's memory. */
  scatter(slot: number, at: number, bytes: number, source: number): void {
    this.#seek(slot, at);
    this.#requests.iovecs.scatter(slot, source, bytes);
  }

  #seek(slot: number, at: number): void {
    const { iovecs } = this.#requests;
    iovecs.rewind(slot);
    iovecs.advance(slot, at);
  }

  /** Advance to a part. Returns whether no sector of it lies in two segments. */
  #goToWholeSectors(slot: number, at: number, bytes: number): boolean {
    const { iovecs } = this.#requests;
    this.#seek(slot, at);
    const { words } = iovecs;
    const end = iovecs.firstWord(slot) + iovecs.remaining(slot) * 4;
    let left = bytes;
    for (let word = iovecs.firstWord(slot); left > 0; word += 4) {
      if (word === end) return false;
      const length = Math.min(words[word + 2] >>> 0, left);
      if ((length & this.#sectorMask) !== 0) return false;
      left -= length;
    }
    return true;
  }

  /** Whole sectors of what is next in a request's memory. */
  #eachSegment(
    slot: number,
    bytes: number,
    lane: number,
    number: number,
    encrypts: boolean,
  ): boolean {
    const { iovecs } = this.#requests;
    const { words } = iovecs;
    let done = 0;
    for (let word = iovecs.firstWord(slot); done < bytes; word += 4) {
      const length = Math.min(words[word + 2] >>> 0, bytes - done);
      const guest = (words[word + 1] >>> 0) * 2 ** 32 + (words[word] >>> 0);
      const sector = number + done / IV_UNIT_BYTES;
      const isDone = encrypts
        ? this.#cipher.encrypt(guest, lane + done, length, sector)
        : this.#cipher.decrypt(lane + done, guest, length, sector);
      if (!isDone) return false;
      done += length;
    }
    return true;
  }
}
