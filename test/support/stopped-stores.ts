/**
 * Stops code after some number of its stores to memory that outlives it, as a kill does: typed
 * arrays that it makes over that memory count what is stored through them, one by one.
 */

/** What the code is stopped with. */
export class Stopped extends Error {}

/** Counts stores, and stops before the one that is too many. */
export class StoreCounter {
  count = 0;
  stopAfter = Number.POSITIVE_INFINITY;

  note(): void {
    if (this.count >= this.stopAfter) throw new Stopped();
    this.count += 1;
  }
}

const TYPED_ARRAYS = ['Uint8Array', 'Uint16Array', 'Uint32Array', 'Int32Array'] as const;

type AnyTypedArray = Uint8Array | Uint16Array | Uint32Array | Int32Array;
type Maker = new (...args: unknown[]) => AnyTypedArray;

/**
 * Run `body`, and stop it when it has stored as often as the counter admits.
 *
 * @param memory - buffers whose stores count, `Atomics.store` included.
 * @returns whether it came to its end.
 */
export function runUntilStopped(
  memory: readonly ArrayBuffer[],
  counter: StoreCounter,
  body: () => void,
): boolean {
  const originals = TYPED_ARRAYS.map((name) => globalThis[name]);
  const { load, store } = Atomics;
  /** Atomic operations take no proxies. */
  const arrays = new WeakMap<object, AnyTypedArray>();
  const plain = (array: object): never => (arrays.get(array) ?? array) as never;
  const counted = (Original: Maker): Maker => {
    const make = function make(...args: unknown[]): AnyTypedArray {
      const array = new Original(...args);
      if (!memory.includes(args[0] as ArrayBuffer)) return array;
      const proxy = new Proxy(array, {
        get: (target, key) => Reflect.get(target, key),
        set: (target, key, value) => {
          counter.note();
          return Reflect.set(target, key, value);
        },
      });
      arrays.set(proxy, array);
      return proxy;
    };
    return Object.setPrototypeOf(make, Original);
  };
  try {
    TYPED_ARRAYS.forEach((name, at) => {
      Object.assign(globalThis, { [name]: counted(originals[at] as unknown as Maker) });
    });
    Atomics.load = (array: object, index: number): never => load(plain(array), index) as never;
    Atomics.store = (array: object, index: number, value: never): never => {
      if (arrays.has(array)) counter.note();
      return store(plain(array), index, value) as never;
    };
    body();
    return true;
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    return false;
  } finally {
    Object.assign(Atomics, { load, store });
    TYPED_ARRAYS.forEach((name, at) => {
      Object.assign(globalThis, { [name]: originals[at] });
    });
  }
}
