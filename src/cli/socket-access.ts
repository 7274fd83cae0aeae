/** Option values that say who may connect to a socket. */
import { InvalidArgumentError } from 'commander';
import { groupNumber, userNumber } from '../sys/index.ts';

/** Owner's and group's number, where they are given. */
export interface SocketOwner {
  readonly user?: number;
  readonly group?: number;
}

/** Numbers of users and groups: the last one means "unchanged" to chown(2). */
const MAX_NUMBER = 2 ** 32 - 2;

/** Permission bits in octal, as chmod(1) takes them. */
export function socketMode(text: string): number {
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  throw new InvalidArgumentError('It must be permissions in octal, such as 0660.');
}

/** `user`, `user:group` or `:group`, as chown(1) takes them: names or numbers. */
export function socketOwner(text: string): SocketOwner {
  const match = /^([^:\0]*)(?::([^:\0]+))?$/.exec(text);
  if (match === null || text === '') {
    throw new InvalidArgumentError('It must be of the form user, user:group or :group.');
  }
  const [, user, group] = match;
  return {
    ...(user === '' ? {} : { user: numberOf('user', user, userNumber) }),
    ...(group === undefined ? {} : { group: numberOf('group', group, groupNumber) }),
  };
}

/** Names first, as chown(1) does: there may be a user called 1000. */
function numberOf(
  kind: string,
  text: string,
  lookUp: (name: string) => number | undefined,
): number {
  const named = lookUp(text);
  if (named !== undefined) return named;
  if (/^\d+$/.test(text) && Number(text) <= MAX_NUMBER) return Number(text);
  throw new InvalidArgumentError(`There is no ${kind} "${text}".`);
}
