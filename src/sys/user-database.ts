/**
 * Numbers of users and groups by name, from wherever the system keeps them (getpwnam(3)).
 *
 * SAFETY: what the C library returns stays as it is until the next such call of the process; it is
 * copied at once. Both structures have two pointers before the first number.
 */
import { libc } from './libc.ts';
import { Mapping } from './mapping.ts';

/** struct passwd { char *name, *passwd; uid_t uid; ... }, struct group likewise with its gid. */
const NUMBER_AT = 16;

function numberIn(entry: number): number | undefined {
  if (entry === 0) return undefined;
  using copy = Mapping.anonymous(4096);
  libc.memcpy(copy.address, entry + NUMBER_AT, 4);
  return new Uint32Array(copy.view(0, 4))[0];
}

/** A user's number, or `undefined` if there is no such user. */
export function userNumber(name: string): number | undefined {
  return numberIn(libc.getpwnam(name));
}

/** A group's number, or `undefined` if there is no such group. */
export function groupNumber(name: string): number | undefined {
  return numberIn(libc.getgrnam(name));
}
