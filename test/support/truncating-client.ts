/**
 * A program for tests: a front-end that writes to the second half of a disk, many requests at a
 * time, and then makes the file smaller that its memory is in. Prints `truncated`, and stands still
 * until it is killed: its own next access would kill it.
 *
 * Arguments: socket path, size of the disk in bytes.
 */
import { ftruncateSync, writeSync } from 'node:fs';
import { AttachedHome, createReactor, signalEvent } from '../../src/sys/index.ts';
import { BlockDriver } from '../../src/testing/index.ts';

const LANES = 16;
const SECTORS = 8;
const ROUNDS = 50;

const [socketPath, sizeBytes] = process.argv.slice(2);
const { reactor } = createReactor('attached');
// Turns the reactor as long as this stands still for nothing.
void new AttachedHome(reactor);
const driver = await BlockDriver.open({ reactor, socketPath });
const { ram, queues } = driver.connection;
const halfSectors = Number(sizeBytes) / 2 / 512;
const data = new Uint8Array(SECTORS * 512).fill(0xee);

function truncate(): never {
  for (const region of ram.regions) ftruncateSync(region.fd.number, 0);
  for (const { kick } of queues) signalEvent(kick.number);
  writeSync(1, 'truncated\n');
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

async function runLane(lane: number): Promise<void> {
  for (let round = 0; ; round++) {
    await driver.write(halfSectors + (((lane + round * LANES) * SECTORS) % halfSectors), data);
    if (round === ROUNDS) truncate();
  }
}

await Promise.all(Array.from({ length: LANES }, (_, lane) => runLane(lane)));
