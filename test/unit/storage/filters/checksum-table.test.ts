/** The table of checksums: what is in use, or not written yet, stays in memory whatever else is used. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ChecksumTable,
  TABLE_PAGE_BYTES,
} from '../../../../src/storage/filters/checksum/checksum-table.ts';
import { CrashClock, CrashingDisk, ioError } from '../../../support/crashing-disk.ts';
import { seededRandom } from '../../../support/power-loss.ts';
import { within } from '../../../support/within.ts';

const PAGES = 4;
const ENTRIES = TABLE_PAGE_BYTES / 4;

/** A table of which one page is kept. */
function newTable(): { readonly side: CrashingDisk; readonly table: ChecksumTable } {
  const options = { clock: new CrashClock(), random: seededRandom(1) };
  const side = new CrashingDisk(Buffer.alloc(PAGES * TABLE_PAGE_BYTES), options);
  return { side, table: new ChecksumTable(side, 0, 1) };
}

function entryIn(side: CrashingDisk, block: number): number {
  return side.content.readUInt32LE(block * 4);
}

/** Use pages, so that others have to make room. */
async function useOthers(table: ChecksumTable): Promise<void> {
  for (let page = 1; page < PAGES; page++) {
    await table.use(page * ENTRIES, page * ENTRIES + 1, () => {});
  }
}

test('entries in use stay while others are used, and are not written before they are final', async () => {
  const { side, table } = newTable();
  await table.use(0, 1, async () => {
    table.set(0, 5);
    await useOthers(table);
    assert.equal(table.get(0), 5);
    assert.equal(side.writes, 0);
    table.set(0, 6);
  });
  await table.save();
  assert.equal(entryIn(side, 0), 6);
});

test('entries that come into use while they are written to make room stay', async () => {
  const { side, table } = newTable();
  await table.use(0, 1, () => table.set(0, 5));
  const write = side.write.bind(side);
  const { promise: released, resolve: release } = withResolvers();
  const { promise: begun, resolve: begin } = withResolvers();
  side.write = async (buffer, offset) => {
    begin();
    await released;
    await write(buffer, offset);
  };
  const others = useOthers(table);
  await within(begun, 'the write that makes room');
  await table.use(0, 1, async () => {
    release();
    await within(others, 'the others');
    assert.equal(table.get(0), 5);
    table.set(0, 6);
  });
  await table.save();
  assert.equal(entryIn(side, 0), 6);
});

test('entries that are changed while they are written to make room stay', async () => {
  const { side, table } = newTable();
  await table.use(0, 1, () => table.set(0, 5));
  const write = side.write.bind(side);
  side.write = async (buffer, offset) => {
    side.write = write;
    await table.use(0, 1, () => table.set(0, 6));
    await write(buffer, offset);
  };
  await useOthers(table);
  await table.use(0, 1, () => assert.equal(table.get(0), 6));
  await table.save();
  assert.equal(entryIn(side, 0), 6);
});

test('entries that cannot be written stay', async () => {
  const { side, table } = newTable();
  await table.use(0, 1, () => table.set(0, 5));
  side.fault = (operation) => {
    if (operation === 'write') throw ioError();
  };
  await useOthers(table);
  await table.use(0, 1, () => assert.equal(table.get(0), 5));
  side.fault = () => {};
  await table.save();
  assert.equal(entryIn(side, 0), 5);
});

test('what nobody uses makes room', async () => {
  const { side, table } = newTable();
  await table.use(0, 1, () => table.set(0, 5));
  await useOthers(table);
  const { reads } = side;
  await table.use(0, 1, () => assert.equal(table.get(0), 5));
  assert.equal(side.reads, reads + 1, 'it is read again');
});

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
