/** Messages of the right form that say what cannot be: the server refuses them and goes on. */
import assert from 'node:assert/strict';
import { closeAll, type Fd } from '../../src/sys/index.ts';
import type { Attack, DeclareAttack } from './attacked-server.ts';
import { RawFrontend } from './raw-frontend.ts';
import { Id, RawResources, shakeHands } from './raw-handshake.ts';

/** A message of the handshake. */
export type MessageName = keyof typeof Id;

/** Shake hands up to and including `last`, then go on as told. */
export async function afterHandshake(
  last: MessageName,
  { reactor, socketPath }: Attack,
  use: (raw: RawFrontend, resources: RawResources) => Promise<void>,
): Promise<void> {
  using resources = new RawResources();
  using raw = new RawFrontend(reactor, socketPath);
  await shakeHands(raw, resources, last);
  await use(raw, resources);
}

/** A message to be refused. */
export interface RefusedMessage {
  readonly name: MessageName;
  readonly payload: Buffer;
  /** What the log line has for a reason: the source of a regular expression. */
  readonly reason: string;
  /** How far the handshake goes before. Default: SET_FEATURES. */
  readonly last?: MessageName;
  /** Descriptors that go with it; those that are not the handshake's are closed after it. */
  readonly fds?: (resources: RawResources) => readonly Fd[];
}

/** Declare that a message is refused, that the log says why, and that the session goes on. */
export function declareRefused(
  declare: DeclareAttack,
  what: string,
  { name, payload, reason, last = 'SET_FEATURES', fds = () => [] }: RefusedMessage,
): void {
  declare(
    `${name} with ${what} is refused`,
    (attack) =>
      afterHandshake(last, attack, async (raw, resources) => {
        const given = fds(resources);
        const lasting = new Set<unknown>(Object.values(resources));
        try {
          assert.equal(await raw.verdict(Id[name], payload, given), 'nack');
        } finally {
          closeAll(given.filter((fd) => !lasting.has(fd)));
        }
        assert.equal((await raw.ask(Id.GET_FEATURES)).length, 8, 'the session goes on');
      }),
    [new RegExp(`${name} \\(\\w+, .*\\): ${reason}.*: refused$`)],
  );
}
