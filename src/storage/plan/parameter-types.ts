/** Types of the parameters that disks have: what is written on a command line, what code gives. */

/** See the module's comment. */
export interface ParameterType<Value> {
  /** What stands for a value in help: `bytes`. */
  readonly placeholder: string;
  /** What is expected, for messages: `a positive multiple of 512 bytes such as 512M or 1G`. */
  readonly expected: string;
  /** Why it is not taken on a command line: a value is a secret, which no message repeats. */
  readonly secret?: string;
  /** The value that a text means; `undefined`: none. */
  parse(text: string): Value | undefined;
  /** Whether it is a value of this type: code may give anything. */
  accepts(value: unknown): boolean;
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
  P: 2 ** 50,
};

/** Bytes with an optional unit K, M, G, T or P, powers of 1024: `4096`, `64K`, `1.5T`. Else NaN. */
function bytesOf(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGTP]?)(?:i?B)?$/i.exec(text);
  return match === null ? Number.NaN : Number(match[1]) * SIZE_UNITS[match[2].toUpperCase()];
}

function numberType(
  placeholder: string,
  expected: string,
  toNumber: (text: string) => number,
  accepts: (value: number) => boolean,
): ParameterType<number> {
  const isOne = (value: unknown): value is number => typeof value === 'number' && accepts(value);
  return {
    placeholder,
    expected,
    parse: (text) => {
      const value = toNumber(text);
      return isOne(value) ? value : undefined;
    },
    accepts: isOne,
  };
}

/** A size of a disk or of a part of it: a positive multiple of 512 bytes. */
export const diskBytes: ParameterType<number> = numberType(
  'bytes',
  'a positive multiple of 512 bytes such as 512M or 1G',
  bytesOf,
  (value) => Number.isSafeInteger(value) && value > 0 && value % 512 === 0,
);

/** A number of bytes, with units. */
export function bytes(minimum: number, maximum: number): ParameterType<number> {
  const expected = `a number of bytes from ${minimum} to ${maximum}, such as 4096 or 64K`;
  const accepts = (value: number): boolean =>
    Number.isSafeInteger(value) && value >= minimum && value <= maximum;
  return numberType('bytes', expected, bytesOf, accepts);
}

/** A number of bytes that is a power of two, with units. */
export function powerOfTwo(minimum: number, maximum: number): ParameterType<number> {
  const expected = `a power of two from ${minimum} to ${maximum}, such as 4096 or 64K`;
  const accepts = (value: number): boolean =>
    value >= minimum && value <= maximum && Number.isInteger(Math.log2(value));
  return numberType('bytes', expected, bytesOf, accepts);
}

/** A whole number. */
export function count(minimum: number, maximum: number, placeholder = 'n'): ParameterType<number> {
  const toNumber = (text: string): number => (/^\d+$/.test(text) ? Number(text) : Number.NaN);
  const accepts = (value: number): boolean =>
    Number.isSafeInteger(value) && value >= minimum && value <= maximum;
  const expected = `a whole number from ${minimum} to ${maximum}`;
  return numberType(placeholder, expected, toNumber, accepts);
}

/** A number that may have a fraction. */
export function decimal(
  minimum: number,
  maximum: number,
  placeholder = 'number',
): ParameterType<number> {
  const toNumber = (text: string): number =>
    /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  const accepts = (value: number): boolean => value >= minimum && value <= maximum;
  return numberType(placeholder, `a number from ${minimum} to ${maximum}`, toNumber, accepts);
}

/** Any text but none. */
export function text(placeholder: string): ParameterType<string> {
  return {
    placeholder,
    expected: `a ${placeholder}`,
    parse: (given) => (given === '' ? undefined : given),
    accepts: (value) => typeof value === 'string' && value !== '',
  };
}

/** One of some words. */
export function oneOf<Choice extends string>(choices: readonly Choice[]): ParameterType<Choice> {
  const find = (value: unknown): Choice | undefined => choices.find((each) => each === value);
  return {
    placeholder: choices.join('|'),
    expected: `one of ${choices.join(', ')}`,
    parse: find,
    accepts: (value) => find(value) !== undefined,
  };
}

/** `on` or `off`. */
export const flag: ParameterType<boolean> = {
  placeholder: 'on|off',
  expected: 'on or off',
  parse: (given) => (given === 'on' ? true : given === 'off' ? false : undefined),
  accepts: (value) => typeof value === 'boolean',
};
