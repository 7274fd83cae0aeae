/** What counts as silence of an NBD server. Time stands still unless a test lets it pass. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { nbd } from '../../../../src/storage/index.ts';
import { type FakeNbdConnection, FakeNbdServer } from '../../../support/fake-nbd-server.ts';
import { simpleReply } from '../../../support/nbd-messages.ts';
import { OpenedDisk } from '../../../support/opened-disk.ts';
import { type SteppedClock, steppedClock } from '../../../support/stepped-disk.ts';

const READ = 0;
const TIMEOUT_MS = 1000;

/** A disk whose server answers reads when it is told to. */
class Place implements AsyncDisposable {
  readonly #t: TestContext;
  readonly #clock: SteppedClock;
  readonly #server: FakeNbdServer;
  readonly #disk: OpenedDisk;
  readonly #held: (() => void)[];

  private constructor(
    t: TestContext,
    clock: SteppedClock,
    server: FakeNbdServer,
    disk: OpenedDisk,
    held: (() => void)[],
  ) {
    this.#t = t;
    this.#clock = clock;
    this.#server = server;
    this.#disk = disk;
    this.#held = held;
  }

  static async open(t: TestContext): Promise<Place> {
    const held: (() => void)[] = [];
    const server = await FakeNbdServer.start({
      options: { 8: false },
      onRequest({ type, cookie, length }, connection: FakeNbdConnection) {
        if (type !== READ) return false;
        held.push(() => connection.send(simpleReply(cookie, 0, Buffer.alloc(length))));
        return true;
      },
    });
    const clock = steppedClock(t);
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const parameters = { timeout: TIMEOUT_MS / 1000, reconnect: 0, connections: 1 };
    const disk = await OpenedDisk.open(nbd(server.uri, parameters));
    return new Place(t, clock, server, disk, held);
  }

  get log(): string {
    return this.#disk.log.join('\n');
  }

  /** A read that the server has got. */
  async ask(): Promise<{ readonly done: Promise<unknown> }> {
    const done = this.#disk.read(0, 512);
    // Looked at by whoever asked, perhaps later.
    done.catch(() => {});
    while (this.#held.length === 0) await turn();
    return { done };
  }

  /** The oldest read is answered; that has not been read yet. */
  answer(): void {
    this.#held.shift()?.();
  }

  async pass(ms: number): Promise<void> {
    this.#clock.nowMs += ms;
    this.#t.mock.timers.tick(ms);
    for (let turns = 0; turns < 5; turns++) await turn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#t.mock.timers.reset();
    await this.#disk[Symbol.asyncDispose]();
    await this.#server[Symbol.asyncDispose]();
  }
}

/** Let the event loop turn once: what has come is read. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

suite('the silence of an NBD server', () => {
  test('begins with the request, however long nothing was asked', async (t) => {
    await using place = await Place.open(t);
    const first = await place.ask();
    place.answer();
    await first.done;
    await place.pass(TIMEOUT_MS - 10);
    const second = await place.ask();
    await place.pass(TIMEOUT_MS - 1);
    assert.equal(place.log, '');
    place.answer();
    await second.done;
  });

  test('lasts as long as it may, and no longer', async (t) => {
    await using place = await Place.open(t);
    const first = await place.ask();
    place.answer();
    await first.done;
    await place.pass(TIMEOUT_MS - 10);
    const second = await place.ask();
    await place.pass(10);
    await place.pass(TIMEOUT_MS - 10);
    await assert.rejects(second.done, { code: 'EIO' });
    assert.match(place.log, /nothing has come for 1 s/);
  });

  test('does not begin anew with each request', async (t) => {
    await using place = await Place.open(t);
    const first = await place.ask();
    await place.pass(TIMEOUT_MS - 10);
    const second = await place.ask();
    await place.pass(10);
    await assert.rejects(first.done, { code: 'EIO' });
    await assert.rejects(second.done, { code: 'EIO' });
  });

  test('is none if the answer is there, and we were held up', async (t) => {
    await using place = await Place.open(t);
    const read = await place.ask();
    await turn();
    place.answer();
    await place.pass(10 * TIMEOUT_MS);
    await read.done;
    assert.equal(place.log, '');
  });
});
