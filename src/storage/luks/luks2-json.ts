/** Fields of LUKS2's JSON area, each checked when it is read. */
import { StorageError } from '../errors.ts';

/** Longest salt or digest in bytes. */
const MAX_BINARY_BYTES = 512;

type Fields = Readonly<Record<string, unknown>>;

/** Throw a `StorageError` DISK_FORMAT. */
export function fail(problem: string): never {
  throw new StorageError('DISK_FORMAT', `LUKS2: the header is damaged, or unknown: ${problem}`);
}

/** An object of the JSON area. Its methods throw as `fail` does. */
export class JsonObject {
  readonly #name: string;
  readonly #fields: Fields;

  static parse(json: string): JsonObject {
    let value: unknown;
    try {
      value = JSON.parse(json);
    } catch {
      fail('it is no JSON');
    }
    return new JsonObject('it', value);
  }

  private constructor(name: string, value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      fail(`"${name}" is no object`);
    }
    this.#name = name;
    this.#fields = value as Fields;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#fields, name);
  }

  object(name: string): JsonObject {
    return new JsonObject(name, this.#field(name));
  }

  optionalObject(name: string): JsonObject | undefined {
    return this.has(name) ? this.object(name) : undefined;
  }

  /** All fields, which are objects. */
  entries(): [string, JsonObject][] {
    return Object.entries(this.#fields).map(([name, value]) => [name, new JsonObject(name, value)]);
  }

  text(name: string): string {
    const value = this.#field(name);
    if (typeof value !== 'string') this.#fail(name, 'a string');
    return value;
  }

  /** What can be shown of a field. */
  printable(name: string): string {
    return JSON.stringify(this.text(name).slice(0, 40));
  }

  integer(name: string): number {
    const value = this.#field(name);
    if (!Number.isSafeInteger(value) || (value as number) < 0) this.#fail(name, 'a number');
    return value as number;
  }

  /** A 64-bit number, which is written as a string (3.1). */
  size(name: string): number {
    const value = Number(/^\d{1,16}$/.exec(this.text(name))?.[0]);
    if (!Number.isSafeInteger(value)) this.#fail(name, 'a number in a string');
    return value;
  }

  base64(name: string): Uint8Array {
    const text = this.text(name);
    const value = Buffer.from(text, 'base64');
    const isWhole = value.toString('base64') === text;
    if (!isWhole || value.length === 0 || value.length > MAX_BINARY_BYTES) {
      this.#fail(name, 'a few bytes in base64');
    }
    return Uint8Array.from(value);
  }

  names(name: string): string[] {
    const value = this.#field(name);
    if (!Array.isArray(value) || !value.every((each) => typeof each === 'string')) {
      this.#fail(name, 'a list of names');
    }
    return value;
  }

  optionalNames(name: string): string[] | undefined {
    return this.has(name) ? this.names(name) : undefined;
  }

  #field(name: string): unknown {
    return this.has(name) ? this.#fields[name] : undefined;
  }

  #fail(name: string, expected: string): never {
    fail(`"${name}" of "${this.#name}" is not ${expected}`);
  }
}
