/** Values of options: parsers for commander that say what was expected, and refuse repetition. */
import { InvalidArgumentError, Option } from 'commander';

/** A value parser that refuses an option given twice, rather than to guess which was meant. */
export function once<Value>(
  parse: (text: string) => Value,
): (text: string, previous: unknown) => Value {
  let seen = false;
  return (text) => {
    if (seen) throw new InvalidArgumentError('It is given twice.');
    seen = true;
    return parse(text);
  };
}

export function integer(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < minimum || value > maximum) {
      throw new InvalidArgumentError(`It must be a number from ${minimum} to ${maximum}.`);
    }
    return value;
  };
}

/** A number that may have a fraction. */
export function decimal(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+(\.\d+)?$/.test(text) || value < minimum || value > maximum) {
      throw new InvalidArgumentError(`It must be a number from ${minimum} to ${maximum}.`);
    }
    return value;
  };
}

export function powerOfTwo(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = integer(minimum, maximum)(text);
    if ((value & (value - 1)) !== 0) throw new InvalidArgumentError('It must be a power of two.');
    return value;
  };
}

const BYTES_OF_UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2 };

/** Bytes, perhaps with a unit: `4096`, `64K`, `1M`. */
export function byteCount(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const match = /^(\d+)([KM]?)$/i.exec(text);
    const bytes = match === null ? -1 : Number(match[1]) * BYTES_OF_UNITS[match[2].toUpperCase()];
    if (bytes >= minimum && bytes <= maximum) return bytes;
    const range = `from ${minimum} to ${maximum}`;
    throw new InvalidArgumentError(`It must be a number of bytes ${range}, such as 65536 or 64K.`);
  };
}

export function oneOf<Choice extends string>(choices: readonly Choice[]): (text: string) => Choice {
  return (text) => {
    const choice = choices.find((candidate) => candidate === text);
    if (choice !== undefined) return choice;
    throw new InvalidArgumentError(`It must be one of ${choices.join(', ')}.`);
  };
}

export function path(text: string): string {
  if (text !== '') return text;
  throw new InvalidArgumentError('It must be a path.');
}

/** An option with a value, which can be given once. */
export function option(
  flags: string,
  description: string,
  parse: (text: string) => unknown,
): Option {
  return new Option(flags, description).argParser(once(parse));
}
