/** Random numbers that are the same wherever the same seed is used. */

/** FNV-1a: 32 bits of a text, for the generator's state. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  return value >>> 0;
}

/** A sequence of random numbers (sfc32) that follows from its seed. */
export class Random {
  readonly #state: Uint32Array;

  /** @param seed - any text; texts that differ give sequences that have nothing in common. */
  constructor(seed: string) {
    this.#state = Uint32Array.of(hash(`a${seed}`), hash(`b${seed}`), hash(`c${seed}`), 1);
    for (let round = 0; round < 16; round++) this.u32();
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    const state = this.#state;
    const result = (state[0] + state[1] + state[3]) >>> 0;
    state[3] += 1;
    state[0] = state[1] ^ (state[1] >>> 9);
    state[1] = state[2] + (state[2] << 3);
    state[2] = ((state[2] << 21) | (state[2] >>> 11)) + result;
    return result;
  }

  /** 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor((this.u32() / 2 ** 32) * count);
  }

  /** `first` to `last`, both among them. */
  between(first: number, last: number): number {
    return first + this.below(last - first + 1);
  }

  /** True in so many of 100 cases. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)];
  }

  /** One of the items, the more often the larger the number with it. */
  weighted<Item>(items: readonly (readonly [weight: number, item: Item])[]): Item {
    let left = this.below(items.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, item] of items) {
      left -= weight;
      if (left < 0) return item;
    }
    return items[items.length - 1][1];
  }

  /** 0 to 2^64 - 1. */
  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }
}
