/**
 * A server program under attack: after each, it must be as if nothing had happened. It runs, says
 * nothing unexpected, serves the next client correctly, has no descriptor more than before, and the
 * disk is what it was but for the sectors that clients may write.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { AttachedHome, createReactor, type EngineName, type Reactor } from '../../src/sys/index.ts';
import { BlockDriver } from '../../src/testing/index.ts';
import { eventually } from './eventually.ts';
import { PatternedImage } from './patterned-image.ts';
import { missingEngine } from './reactors.ts';
import { ServerProgram } from './server-program.ts';

const IMAGE_SECTORS = 8192;
/** Sectors that attackers and honest clients may write; those behind them must not change. */
export const WRITABLE_SECTORS = 2048;
const FLUSH = 4;
const ENGINES: readonly EngineName[] = ['io_uring', 'epoll'];
/** What a server says of any client. */
const ORDINARY_LINE = / info {2}client \d+ (connected|disconnected: .*)$/;
/** What it says last when an honest client has gone: attackers do not flush. */
const HONEST_GOODBYE = / client \d+ disconnected: .*flushes 1.*\n$/;

/** What an attacker gets. */
export interface Attack {
  readonly server: ServerProgram;
  readonly socketPath: string;
  /** Attached to this thread's event loop. */
  readonly reactor: Reactor;
}

/** See the module's comment. */
export class AttackedServer {
  readonly reactor: Reactor;
  readonly #home: AttachedHome;
  readonly #args: readonly string[];
  readonly #folder = mkdtempSync(join(tmpdir(), 'vhostkit-attacked-'));
  readonly #socketPath = join(this.#folder, 'socket');
  readonly #image = new PatternedImage(IMAGE_SECTORS);
  #server: ServerProgram | undefined;
  #idleFds = 0;

  constructor(args: readonly string[]) {
    this.#args = args;
    this.reactor = createReactor('attached').reactor;
    this.#home = new AttachedHome(this.reactor);
  }

  /** The server; a new one if an earlier attack has ended it. */
  async #running(): Promise<ServerProgram> {
    if (this.#server !== undefined && this.#server.end === undefined) return this.#server;
    const place = [`--socket-path=${this.#socketPath}`, `--blk-file=${this.#image.path}`];
    const server = await ServerProgram.ready([...place, ...this.#args]);
    this.#server = server;
    // What is made once and kept, is made for the first client.
    await this.#useHonestly();
    await this.#idle(server, 0);
    this.#idleFds = server.openFds().length;
    return server;
  }

  /**
   * Attack, then check all that is demanded.
   *
   * @param expected - what the server shall say about it: each at least once, and nothing else
   * @param possible - but for this.
   */
  async endures(
    attack: (attack: Attack) => Promise<void>,
    expected: readonly RegExp[],
    possible: readonly RegExp[],
  ): Promise<void> {
    const server = await this.#running();
    const said = server.stderr.length;
    await attack({ server, socketPath: this.#socketPath, reactor: this.reactor });
    await this.#useHonestly();
    await this.#idle(server, said);
    assert.equal(server.end, undefined, `the server has ended: ${server.stderr.slice(said)}`);
    await eventually(
      () => `descriptors are closed: ${server.openFds().length}, not ${this.#idleFds}`,
      () => server.openFds().length === this.#idleFds,
    );
    assert.equal(this.#image.firstChangedSector(WRITABLE_SECTORS), undefined, 'sector changed');
    const lines = server.stderr.slice(said).split('\n').filter(Boolean);
    const known = [ORDINARY_LINE, ...expected, ...possible];
    const odd = lines.filter((line) => !known.some((pattern) => pattern.test(line)));
    assert.deepEqual(odd, [], 'unexpected on standard error');
    for (const pattern of expected) {
      const isSaid = lines.some((line) => pattern.test(line));
      assert.ok(isSaid, `${pattern} is not on standard error:\n${lines.join('\n')}`);
    }
  }

  /** Write, read back, flush, as any driver does. */
  async #useHonestly(): Promise<void> {
    const driver = await BlockDriver.open({ reactor: this.reactor, socketPath: this.#socketPath });
    try {
      const isReadOnly = this.#args.includes('--read-only');
      const data = randomBytes(8 * 512);
      const sector = Math.floor(Math.random() * (WRITABLE_SECTORS - 8));
      if (!isReadOnly) {
        await driver.write(sector, data);
        assert.deepEqual(Buffer.from(await driver.read(sector, 8)), data);
      } else {
        assert.equal((await driver.read(sector, 8)).length, data.length);
      }
      const flushed = await driver.request({ type: FLUSH });
      assert.equal(flushed.status, 0, 'flush of an honest client');
    } finally {
      driver.close();
    }
  }

  /** Wait until the honest client, the last one, is gone from the server. */
  async #idle(server: ServerProgram, said: number): Promise<void> {
    await eventually(
      () => `the honest client is gone: ${server.stderr.slice(said)}`,
      () => server.end !== undefined || HONEST_GOODBYE.test(server.stderr.slice(said)),
    );
  }

  async close(): Promise<void> {
    const end = await this.#server?.stop();
    this.#home.close();
    this.reactor[Symbol.dispose]();
    this.#image[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true, force: true });
    // A server that did not end by itself has been killed.
    if (end !== undefined) assert.equal(end.code, 0, `${end.signal}: ${end.stderr}`);
  }
}

/** Declares an attack as a test. */
export type DeclareAttack = (
  name: string,
  attack: (attack: Attack) => Promise<void>,
  expected?: readonly RegExp[],
  possible?: readonly RegExp[],
) => void;

/** Declare a suite of attacks on a server of each engine; those that cannot be had are skipped. */
export function attackSuite(
  name: string,
  args: readonly string[],
  declare: (attack: DeclareAttack, engine: EngineName) => void,
): void {
  for (const engine of ENGINES) {
    suite(`${name}: ${engine}`, () => {
      const skip = missingEngine(engine) ?? false;
      const server =
        skip === false ? new AttackedServer([`--engine=${engine}`, ...args]) : undefined;
      after(() => server?.close());
      declare((attackName, attack, expected = [], possible = []) => {
        test(attackName, { skip }, () => server?.endures(attack, expected, possible));
      }, engine);
    });
  }
}
