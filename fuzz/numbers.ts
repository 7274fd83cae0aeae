/**
 * Numbers in cases: decimal, hexadecimal, or an address by its region: `guest0+0x800`, `user2-1`.
 */
import { type Action, CaseError, formatAction } from './action.ts';
import { REGIONS } from './geometry.ts';

const ADDRESS = /^(guest|user)(\d)(?:([+-])(\w+))?$/;
const NUMBER = /^-?(0x[0-9a-f]+|\d+)$/i;

/** The number that a text names. Below 0: counted from the end of 64 bits. */
export function parseNumber(text: string): bigint {
  const [, space, index, sign, offset = '0'] = ADDRESS.exec(text) ?? [];
  if (space !== undefined) {
    const region = REGIONS[Number(index)];
    if (region === undefined) throw new CaseError(`there is no region ${index}`);
    const start = BigInt(space === 'guest' ? region.guestAddress : region.userAddress);
    const distance = parseNumber(offset);
    return BigInt.asUintN(64, sign === '-' ? start - distance : start + distance);
  }
  if (!NUMBER.test(text)) throw new CaseError(`${text} is no number`);
  const value = text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
  return BigInt.asUintN(64, value);
}

/** An action's value as a number, or `otherwise` where it has none. */
export function numberOf(action: Action, key: string, otherwise: number): number {
  const text = action.values.get(key);
  return text === undefined ? otherwise : Number(parseNumber(text));
}

/** An action's first word as a number, or `otherwise`. */
export function firstNumber(action: Action, otherwise: number): number {
  const text = action.words.find((word) => NUMBER.test(word));
  return text === undefined ? otherwise : Number(parseNumber(text));
}

/** The queue an action is about. */
export function queueOf(action: Action): number {
  const queue = numberOf(action, 'queue', 0);
  if (queue < 4) return queue;
  throw new CaseError(`"${formatAction(action)}": queues are 0 to 3`);
}

/** An address as cases write it, if it is in a region. */
export function addressText(space: 'guest' | 'user', index: number, offset: number): string {
  return offset === 0 ? `${space}${index}` : `${space}${index}+0x${offset.toString(16)}`;
}
