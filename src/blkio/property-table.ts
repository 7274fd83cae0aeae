/**
 * The properties of a device: named values with a type, which can be read from one state on and
 * perhaps written up to another. Errors are those of libblkio.
 */
import { BlkioError } from './errors.ts';

/** States of a device, in the order it goes through them. */
export type DeviceState = 'created' | 'connected' | 'started';

const STATE_ORDER: readonly DeviceState[] = ['created', 'connected', 'started'];

/** Types by libblkio's names, and what they are in TypeScript. */
export interface PropertyTypes {
  bool: boolean;
  /** 32 bits, signed. */
  int: number;
  uint64: bigint;
  str: string;
}

export type PropertyType = keyof PropertyTypes;
export type PropertyValue = PropertyTypes[PropertyType];

/** What is known of a property without a device. */
export interface PropertyInfo {
  readonly name: string;
  readonly type: PropertyType;
  /** One line for people: meaning, unit, default. */
  readonly description: string;
  /** The state from which it can be read. */
  readonly readableFrom: 'created' | 'connected';
  /** The last state in which it can be set; absent: it can't be. */
  readonly writableUntil?: 'created' | 'connected';
}

/** A property of one device. */
export interface Property<Type extends PropertyType = PropertyType> extends PropertyInfo {
  readonly type: Type;
  get(): PropertyTypes[Type];
  /** Throws a `BlkioError` EINVAL for a value that makes no sense. */
  set?(value: PropertyTypes[Type]): void;
}

const MAX_INT = 2 ** 31 - 1;
const MAX_UINT64 = 2n ** 64n - 1n;

/** Whether a value is of a type, range included. */
function isOfType(value: unknown, type: PropertyType): boolean {
  switch (type) {
    case 'bool':
      return typeof value === 'boolean';
    case 'int':
      return Number.isInteger(value) && Math.abs(value as number) <= MAX_INT;
    case 'uint64':
      return typeof value === 'bigint' && value >= 0n && value <= MAX_UINT64;
    case 'str':
      return typeof value === 'string';
  }
}

/** See the module's comment. */
export class PropertyTable {
  readonly #properties = new Map<string, Property>();
  readonly #state: () => DeviceState;

  /** @param state - the device's state at the time of the call. */
  constructor(state: () => DeviceState) {
    this.#state = state;
  }

  add(property: Property): void {
    this.#properties.set(property.name, property);
  }

  /** All properties, in alphabetical order. */
  list(): PropertyInfo[] {
    const infos = [...this.#properties.values()].map(toInfo);
    return infos.sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** @throws BlkioError ENOENT: unknown; ENODEV: not before the device is connected. */
  get(name: string): PropertyValue {
    return this.#readable(name).get();
  }

  /** As `get`. @throws BlkioError ENOTTY, too: it is of another type. */
  getTyped<Type extends PropertyType>(name: string, type: Type): PropertyTypes[Type] {
    const property = this.#readable(name);
    checkType(property, type);
    return property.get() as PropertyTypes[Type];
  }

  /**
   * @throws BlkioError ENOENT: unknown; ENOTTY: the value is of another type; EACCES: it can't be
   * set; EBUSY: not any more; EINVAL: the value makes no sense.
   */
  set(name: string, value: PropertyValue): void {
    const property = this.#find(name);
    if (!isOfType(value, property.type)) {
      const text = `property ${name} is of type ${property.type}: ${String(value)} is not`;
      throw new BlkioError('ENOTTY', text);
    }
    if (property.set === undefined || property.writableUntil === undefined) {
      throw new BlkioError('EACCES', `property ${name} is read-only`);
    }
    if (rank(this.#state()) > rank(property.writableUntil)) {
      const reason = `it can't be set once the device is ${this.#state()}`;
      throw new BlkioError('EBUSY', `property ${name}: ${reason}`);
    }
    property.set(value);
  }

  /** Set a property from text, as in `name=text` on a command line. Throws as `set`. */
  setText(name: string, text: string): void {
    const property = this.#find(name);
    const value = parseValue(text, property.type);
    if (value === undefined) {
      const reason = `"${text}" is no value of type ${property.type}`;
      throw new BlkioError('EINVAL', `property ${name}: ${reason}`);
    }
    this.set(name, value);
  }

  #find(name: string): Property {
    const property = this.#properties.get(name);
    if (property === undefined) throw new BlkioError('ENOENT', `unknown property "${name}"`);
    return property;
  }

  #readable(name: string): Property {
    const property = this.#find(name);
    if (rank(this.#state()) < rank(property.readableFrom)) {
      const reason = 'it is known once the device is connected';
      throw new BlkioError('ENODEV', `property ${name}: ${reason}`);
    }
    return property;
  }
}

function rank(state: DeviceState): number {
  return STATE_ORDER.indexOf(state);
}

function toInfo(property: Property): PropertyInfo {
  const { name, type, description, readableFrom, writableUntil } = property;
  return {
    ...{ name, type, description, readableFrom },
    ...(writableUntil === undefined ? {} : { writableUntil }),
  };
}

function checkType(property: Property, type: PropertyType): void {
  if (property.type === type) return;
  const text = `property ${property.name} is of type ${property.type}, not ${type}`;
  throw new BlkioError('ENOTTY', text);
}

function parseValue(text: string, type: PropertyType): PropertyValue | undefined {
  if (type === 'str') return text;
  if (type === 'bool') {
    if (text === 'true') return true;
    return text === 'false' ? false : undefined;
  }
  if (!/^-?\d+$/.test(text)) return undefined;
  const value = type === 'int' ? Number(text) : BigInt(text);
  return isOfType(value, type) ? value : undefined;
}
