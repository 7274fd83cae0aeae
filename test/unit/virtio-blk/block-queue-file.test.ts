/** A block queue over a file, on a real reactor of each engine: data, flushes, ranges, failures. */
import assert from 'node:assert/strict';
import { ftruncateSync } from 'node:fs';
import { test } from 'node:test';
import { openFileDisk } from '../../../src/storage/index.ts';
import {
  createMemfd,
  createReactor,
  type EngineName,
  type Fd,
  type Reactor,
} from '../../../src/sys/index.ts';
import { RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { rangeBytes } from '../../support/block-chains.ts';
import { missingEngine } from '../../support/reactors.ts';
import { type Answer, type Sent, ServedQueue } from '../../support/served-queue.ts';

const { IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES } = RequestType;
const IMAGE_BYTES = 2 ** 20;
const DEADLINE_MS = 20_000;
const ENGINES: readonly EngineName[] = ['io_uring', 'epoll'];

/** A queue over a memory file, and the reactor that serves it. */
class FileQueue implements Disposable {
  readonly image: Fd = createMemfd('image', IMAGE_BYTES);
  readonly served: ServedQueue;
  readonly #reactor: Reactor;
  readonly #close: () => void;

  constructor(engine: EngineName, readOnly = false) {
    this.#reactor = createReactor('blocking', engine).reactor;
    const path = `/proc/self/fd/${this.image.number}`;
    const disk = openFileDisk({ path, readOnly, locking: false });
    this.served = new ServedQueue({ disk, reactor: this.#reactor });
    this.#reactor.addSource(this.served.queue);
    this.#close = () => disk.close();
  }

  /** Turn the reactor until all of these are answered, in the order they were sent. */
  ask(...requests: readonly Sent[]): Answer[] {
    const heads = requests.map((request) => this.served.add(request));
    this.served.driver.publish();
    const answers = new Map<number, Answer>();
    const deadlineMs = performance.now() + DEADLINE_MS;
    while (answers.size < heads.length) {
      assert.ok(performance.now() < deadlineMs, 'answered in time');
      this.#reactor.turn();
      for (const answer of this.served.answers()) answers.set(answer.head, answer);
    }
    return heads.flatMap((head) => answers.get(head) ?? []);
  }

  [Symbol.dispose](): void {
    this.served.queue.drain(() => this.served.queue.close());
    this.#reactor.removeSource(this.served.queue);
    this.#reactor[Symbol.dispose]();
    this.#close();
    this.served[Symbol.dispose]();
    this.image.close();
  }
}

function summary({ status, usedLength }: Answer): number[] {
  return [status, usedLength];
}

function pattern(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, index) => (index * 7 + seed) & 0xff);
}

for (const engine of ENGINES) {
  const skip = missingEngine(engine) ?? false;

  test(`${engine}: what is written is read back, to the byte`, { skip }, () => {
    using file = new FileQueue(engine);
    const writes = [1, 2, 3].map((seed) => ({
      type: OUT,
      sector: seed * 16,
      payload: pattern(seed * 512, seed),
    }));
    assert.deepEqual(file.ask(...writes).map(summary), new Array(3).fill([Status.OK, 1]));
    assert.deepEqual(file.ask({ type: FLUSH }).map(summary), [[Status.OK, 1]]);
    for (const { sector, payload } of writes) {
      const [answer] = file.ask({ type: IN, sector, room: payload.length });
      assert.deepEqual(summary(answer), [Status.OK, payload.length + 1]);
      assert.deepEqual(answer.room, payload);
    }
    const { reads, writes: written, writtenBytes, readBytes, flushes } = file.served.counted();
    assert.deepEqual([reads, readBytes, written, writtenBytes, flushes], [3, 3072, 3, 3072, 1]);
  });

  test(`${engine}: ranges are zero afterwards, and nothing around them`, { skip }, () => {
    using file = new FileQueue(engine);
    for (const [type, flags] of [
      [DISCARD, 0],
      [WRITE_ZEROES, 0],
      [WRITE_ZEROES, 1],
    ]) {
      const data = pattern(64 * 512, 3);
      file.ask({ type: OUT, sector: 0, payload: data });
      const ranges = rangeBytes([
        { sector: 8, sectors: 16, flags },
        { sector: 40, sectors: 8, flags },
      ]);
      assert.deepEqual(file.ask({ type, payload: ranges }).map(summary), [[Status.OK, 1]]);
      const [answer] = file.ask({ type: IN, sector: 0, room: data.length });
      data.fill(0, 8 * 512, 24 * 512).fill(0, 40 * 512, 48 * 512);
      assert.deepEqual(answer.room, data);
    }
  });

  test(`${engine}: in write-through mode all is done the same`, { skip }, () => {
    using file = new FileQueue(engine);
    file.served.state.writeback = false;
    const payload = pattern(4096, 9);
    const zero = rangeBytes([{ sector: 8, sectors: 8 }]);
    const sent = [
      { type: OUT, sector: 0, payload },
      { type: OUT, sector: 8, payload },
    ];
    assert.deepEqual(file.ask(...sent).map(summary), new Array(2).fill([Status.OK, 1]));
    const zeroed = file.ask({ type: WRITE_ZEROES, payload: zero });
    assert.deepEqual(zeroed.map(summary), [[Status.OK, 1]]);
    const [answer] = file.ask({ type: IN, sector: 0, room: 8192 });
    assert.deepEqual(answer.room, new Uint8Array([...payload, ...new Array(4096).fill(0)]));
  });

  test(`${engine}: an image that has become shorter reads as zeros at its end`, { skip }, () => {
    using file = new FileQueue(engine);
    const data = pattern(1024, 5);
    file.ask({ type: OUT, sector: 0, payload: data });
    ftruncateSync(file.image.number, 700);
    const [answer] = file.ask({ type: IN, sector: 0, room: 1024 });
    data.fill(0, 700);
    assert.deepEqual(summary(answer), [Status.OK, 1025]);
    assert.deepEqual(answer.room, data);
  });

  test(`${engine}: a read-only disk is not written to`, { skip }, () => {
    using file = new FileQueue(engine, true);
    const payload = pattern(512, 1);
    const ranges = rangeBytes([{ sector: 0, sectors: 1 }]);
    const answers = file.ask(
      { type: OUT, sector: 0, payload },
      { type: DISCARD, payload: ranges },
      { type: WRITE_ZEROES, payload: ranges },
      { type: IN, sector: 0, room: 512 },
      { type: GET_ID, room: 20 },
    );
    const { OK, IOERR } = Status;
    const expected = [
      [IOERR, 1],
      [IOERR, 1],
      [IOERR, 1],
      [OK, 513],
      [OK, 21],
    ];
    assert.deepEqual(answers.map(summary), expected);
    assert.ok(answers[3].room.every((byte) => byte === 0));
  });
}
