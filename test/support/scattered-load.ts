/**
 * Random requests whose answers go to memory that only the device writes: data and status bytes are
 * scattered over pages of each lane, in pieces of any length.
 */
import assert from 'node:assert/strict';
import type { DriverConnection, GuestBuffer } from '../../src/testing/index.ts';
import { RequestType } from '../../src/virtio-blk/index.ts';
import { type ChainDriver, type ChainPiece, headerBytes } from './chain-driver.ts';

/** Pages that the answers of a lane go to. */
const LANE_BYTES = 32 * 4096;
const MAX_SECTORS = 64;
const MAX_PIECES = 4;

/** Numbers that look random, and are the same in each run. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** 0 to `count` - 1. */
  below(count: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * count);
  }
}

/** One request at a time, in memory of its own. */
export class Lane {
  readonly #driver: ChainDriver;
  readonly #dice: Dice;
  readonly #diskSectors: number;
  /** Written by the driver: header and payload. */
  readonly #request: GuestBuffer;
  /** Written by the device. */
  readonly #answer: GuestBuffer;
  /** Bytes that the last request let the device write: guest address and length. */
  writable: readonly ChainPiece[] = [];

  /** Takes memory of the first region for requests, of the second for answers. */
  constructor(
    connection: DriverConnection,
    driver: ChainDriver,
    diskSectors: number,
    seed: number,
  ) {
    this.#driver = driver;
    this.#dice = new Dice(seed);
    this.#diskSectors = diskSectors;
    this.#request = connection.ram.allocate(16 + MAX_SECTORS * 512, 4096, 0);
    this.#answer = connection.ram.allocate(LANE_BYTES, 4096, 1);
  }

  /** A random request, until it is answered. */
  async run(): Promise<void> {
    const dice = this.#dice;
    const type = [RequestType.IN, RequestType.IN, RequestType.OUT, RequestType.GET_ID][
      dice.below(4)
    ];
    const sectors = 1 + dice.below(MAX_SECTORS);
    const sector = dice.below(this.#diskSectors - sectors);
    const payload = type === RequestType.OUT ? sectors * 512 : 0;
    this.#request.bytes.set(headerBytes(type, sector));
    this.#request.bytes.fill(dice.below(256), 16, 16 + payload);
    const room = type === RequestType.IN ? sectors * 512 : type === RequestType.GET_ID ? 20 : 0;
    this.writable = this.#scatter(room + 1);
    const { guestAddress } = this.#request;
    const readable = { guestAddress, length: 16 + payload, writable: false };
    const usedLength = await this.#driver.run([readable, ...this.writable]);
    assert.equal(usedLength, room + 1);
  }

  /** Pieces that come in order, with gaps between them, and hold so many bytes. */
  #scatter(bytes: number): ChainPiece[] {
    const dice = this.#dice;
    const pieces: ChainPiece[] = [];
    let spare = LANE_BYTES - bytes;
    let at = this.#answer.guestAddress;
    for (let left = bytes; left > 0; ) {
      const gap = dice.below(spare);
      spare -= gap;
      const isLast = pieces.length === MAX_PIECES - 1;
      const length = isLast ? left : 1 + dice.below(left);
      pieces.push({ guestAddress: at + gap, length, writable: true });
      at += gap + length;
      left -= length;
    }
    return pieces;
  }
}
