/**
 * Requests under way when a ring is stopped to go on elsewhere: finished first, or written down for
 * the destination (GET_VRING_BASE_INFLIGHT). Source and destination have an image each here, which
 * shows who has done what: each request is done by one of them, and only by one.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createMemfd, Mapping } from '../../src/sys/index.ts';
import { DriverConnection } from '../../src/testing/index.ts';
import {
  BACKEND_PROTOCOL_FEATURES,
  Frontend,
  type InflightMemory,
  type ProtocolFeatureName,
  protocolFeatureSet,
} from '../../src/vhost-user/index.ts';
import { RequestType, SECTOR_BYTES } from '../../src/virtio-blk/index.ts';
import { ChainDriver, headerBytes, readable, writable } from '../support/chain-driver.ts';
import { eventually } from '../support/eventually.ts';
import { HeldDisk } from '../support/held-disk.ts';
import { OwnDiskServer } from '../support/own-disk-server.ts';
import { SERVER_ENGINES, ServedDisk } from '../support/served-disk.ts';

const QUEUE_SIZE = 16;
const DISK_BYTES = 64 * 1024;
const WRITES = 5;
const ROUNDS = 50;
/** Data of request n, everywhere in its sector. */
const mark = (request: number): number => request + 1;

type HeldServer = OwnDiskServer<HeldDisk>;

function startHeld(): Promise<HeldServer> {
  return OwnDiskServer.start(new Uint8Array(DISK_BYTES), (image) => new HeldDisk(image));
}

/** What a VMM carries from one host to the other. */
function carryOver({ description, fd }: InflightMemory): InflightMemory {
  const { mmapSize } = description;
  const copy = createMemfd('carried-over', mmapSize);
  using from = Mapping.ofFile(fd.number, 0, mmapSize);
  using to = Mapping.ofFile(copy.number, 0, mmapSize);
  new Uint8Array(to.view(0, mmapSize)).set(new Uint8Array(from.view(0, mmapSize)));
  return { description: { ...description, mmapOffset: 0 }, fd: copy };
}

/** Which requests an image shows to be done. */
function doneIn(image: Uint8Array): number[] {
  const requests = Array.from({ length: WRITES }, (_, request) => request);
  return requests.filter((request) => {
    const sector = image.subarray(request * SECTOR_BYTES, (request + 1) * SECTOR_BYTES);
    const isDone = sector.every((byte) => byte === mark(request));
    assert.ok(isDone || sector.every((byte) => byte === 0), `part of request ${request}`);
    return isDone;
  });
}

/** A driver, which does not notice that its back-end is exchanged. */
class Guest implements Disposable {
  readonly connection: DriverConnection;
  readonly driver: ChainDriver;
  answered = 0;

  constructor(connection: DriverConnection, disk: ServedDisk) {
    this.connection = connection;
    this.driver = new ChainDriver(connection, connection.queues[0], disk.reactor);
  }

  write(request: number): void {
    const { ram } = this.connection;
    const header = ram.allocate(16);
    header.bytes.set(headerBytes(RequestType.OUT, request));
    const data = ram.allocate(SECTOR_BYTES);
    data.bytes.fill(mark(request));
    const status = ram.allocate(1);
    status.bytes.fill(0xee);
    const done = this.driver.run([readable(header), readable(data), writable(status)]);
    void done.then(() => {
      assert.equal(status.bytes[0], 0);
      this.answered += 1;
    });
  }

  [Symbol.dispose](): void {
    this.driver[Symbol.dispose]();
  }
}

/** The way of a ring from a source to a destination. */
class Move implements AsyncDisposable {
  readonly source: HeldServer;
  readonly destination: ServedDisk;
  readonly guest: Guest;
  readonly inflight: InflightMemory;

  static async begin(destination: ServedDisk, isPacked: boolean, records: boolean): Promise<Move> {
    const source = await startHeld();
    const without: ProtocolFeatureName[] = records ? [] : ['GET_VRING_BASE_INFLIGHT'];
    const connection = await DriverConnection.open({
      reactor: destination.reactor,
      socketPath: source.socketPath,
      queueSize: QUEUE_SIZE,
      packed: isPacked,
      protocolFeatures: BACKEND_PROTOCOL_FEATURES & ~protocolFeatureSet(without),
    });
    const base = await connection.stopQueue(0);
    const inflight = await connection.frontend.getInflight(1, QUEUE_SIZE);
    await connection.frontend.setInflight(inflight);
    await connection.startQueue(0, base);
    return new Move(source, destination, new Guest(connection, destination), inflight);
  }

  private constructor(
    source: HeldServer,
    destination: ServedDisk,
    guest: Guest,
    inflight: InflightMemory,
  ) {
    this.source = source;
    this.destination = destination;
    this.guest = guest;
    this.inflight = inflight;
  }

  /** Requests that the source has taken, of which so many are in the hands of its kernel. */
  async fill(inKernel: number): Promise<void> {
    this.source.disk.inKernel = inKernel;
    for (let request = 0; request < WRITES; request++) this.guest.write(request);
    await eventually('the source has them', () => this.source.disk.held === WRITES);
  }

  /** Have the destination go on from a base. */
  async arrive(base: number): Promise<DriverConnection> {
    const { connection } = this.guest;
    const { features, ram, queues } = connection;
    const { reactor, socketPath } = this.destination;
    const frontend = await Frontend.connect({ reactor, socketPath, features });
    await frontend.addRegions(ram.regions.map((region) => ({ ...region, mmapOffset: 0 })));
    const carried = carryOver(this.inflight);
    await frontend.setInflight(carried);
    carried.fd.close();
    const arrived = new DriverConnection(frontend, ram, queues);
    await arrived.startQueue(0, base);
    return arrived;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.source.disk.let(WRITES);
    this.guest[Symbol.dispose]();
    this.guest.connection.close();
    this.inflight.fd.close();
    await this.source[Symbol.asyncDispose]();
  }
}

for (const isPacked of [false, true]) {
  suite(`a ${isPacked ? 'packed' : 'split'} ring goes on elsewhere`, () => {
    for (const { engine, skip } of SERVER_ENGINES) {
      test(`what need not be done at the source is done at the destination (${engine})`, {
        skip,
      }, async () => {
        await using destination = await ServedDisk.start({ engine, sizeBytes: DISK_BYTES });
        await using move = await Move.begin(destination, isPacked, true);
        const { source, guest } = move;
        await move.fill(2);
        let base: number | undefined;
        const stopped = guest.connection.stopQueue(0).then((answer) => {
          base = answer;
        });
        await eventually('the rest is abandoned', () => source.disk.held === 2);
        await sleep(50);
        assert.equal(base, undefined, 'what the kernel has is waited for');
        source.disk.let(2);
        await stopped;
        assert.deepEqual(doneIn(source.readImage(DISK_BYTES)), [0, 1]);
        await eventually('two are answered', () => guest.answered === 2);
        const arrived = await move.arrive(base ?? 0);
        await eventually('all are answered', () => guest.answered === WRITES);
        assert.deepEqual(doneIn(destination.readImage()), [2, 3, 4]);
        assert.deepEqual(doneIn(source.readImage(DISK_BYTES)), [0, 1]);
        arrived.frontend.close();
      });
    }

    for (const { engine, skip } of SERVER_ENGINES) {
      test(`a busy ring is stopped and goes on, again and again (${engine})`, {
        skip,
      }, async () => {
        await using disk = await ServedDisk.start({ engine, sizeBytes: DISK_BYTES });
        const connection = await disk.connectRings({
          packed: isPacked,
          queueSize: QUEUE_SIZE,
          protocolFeatures: BACKEND_PROTOCOL_FEATURES,
        });
        let base = await connection.stopQueue(0);
        const inflight = await connection.frontend.getInflight(1, QUEUE_SIZE);
        await connection.frontend.setInflight(inflight);
        inflight.fd.close();
        using guest = new Guest(connection, disk);
        for (let round = 1; round <= ROUNDS; round++) {
          await connection.startQueue(0, base);
          for (let request = 0; request < WRITES; request++) guest.write(request);
          await sleep(Math.random() * 2);
          base = await connection.stopQueue(0);
          await connection.startQueue(0, base);
          await eventually('all are answered', () => guest.answered === round * WRITES);
          base = await connection.stopQueue(0);
        }
        assert.deepEqual(doneIn(disk.readImage()), [0, 1, 2, 3, 4]);
      });
    }

    test('nothing is left by a source that was not asked to', async () => {
      await using destination = await ServedDisk.start({ sizeBytes: DISK_BYTES });
      await using move = await Move.begin(destination, isPacked, false);
      const { source, guest } = move;
      await move.fill(0);
      let base: number | undefined;
      const stopped = guest.connection.stopQueue(0).then((answer) => {
        base = answer;
      });
      for (let left = WRITES; left > 0; left--) {
        await sleep(10);
        assert.deepEqual([base, source.disk.held], [undefined, left]);
        source.disk.let(1);
      }
      await stopped;
      await eventually('all are answered', () => guest.answered === WRITES);
      const arrived = await move.arrive(base ?? 0);
      guest.write(0);
      await eventually('it goes on', () => guest.answered === WRITES + 1);
      assert.deepEqual(doneIn(source.readImage(DISK_BYTES)), [0, 1, 2, 3, 4]);
      assert.deepEqual(doneIn(destination.readImage()), [0]);
      arrived.frontend.close();
    });

    test('a ring that is stopped and started again goes on with what it left', async () => {
      await using unused = await ServedDisk.start({ sizeBytes: DISK_BYTES });
      await using move = await Move.begin(unused, isPacked, true);
      const { source, guest } = move;
      await move.fill(0);
      const base = await guest.connection.stopQueue(0);
      assert.deepEqual([guest.answered, doneIn(source.readImage(DISK_BYTES))], [0, []]);
      await guest.connection.startQueue(0, base);
      await eventually('the source has them again', () => source.disk.held === WRITES);
      source.disk.let(WRITES);
      await eventually('all are answered', () => guest.answered === WRITES);
      assert.deepEqual(doneIn(source.readImage(DISK_BYTES)), [0, 1, 2, 3, 4]);
    });

    test('a source without a log leaves nothing, whatever it was asked', async () => {
      await using unused = await ServedDisk.start({ sizeBytes: DISK_BYTES });
      await using source = await startHeld();
      const { reactor } = unused;
      const own = await DriverConnection.open({
        ...{ reactor, socketPath: source.socketPath, queueSize: QUEUE_SIZE, packed: isPacked },
        protocolFeatures: BACKEND_PROTOCOL_FEATURES,
      });
      using guest = new Guest(own, unused);
      guest.write(0);
      await eventually('the source has it', () => source.disk.held === 1);
      const stopped = own.stopQueue(0);
      await sleep(50);
      assert.equal(source.disk.held, 1);
      source.disk.let(1);
      await stopped;
      await eventually('it is answered', () => guest.answered === 1);
      own.close();
    });
  });
}
