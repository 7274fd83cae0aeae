/** What is known of a driver's `writeback` field, when a ring begins to run. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WritebackField } from '../../../src/exports/vhost-user-blk/writeback-field.ts';
import { NullDisk } from '../../../src/storage/index.ts';
import type { RingSetup } from '../../../src/vhost-user/index.ts';
import {
  BlockFeature,
  ConfigOffset,
  ConfigSpace,
  DeviceState,
  Writeback,
} from '../../../src/virtio-blk/index.ts';
import { firstBase, RingFeature } from '../../../src/virtqueue/index.ts';

const CONFIG_WCE = 1n << BigInt(BlockFeature.CONFIG_WCE);
const PACKED = 1n << BigInt(RingFeature.RING_PACKED);
const INFO = {
  ...{ sizeBytes: 512, readOnly: false, logicalBlockBytes: 512, physicalBlockBytes: 512 },
  ...{ minIoBytes: 0, optimalIoBytes: 0, canDiscard: true, canWriteZeroes: true },
  writeBack: true,
};

/** A field, and what it is in. */
function fieldOf(writeBack = true): { field: WritebackField; state: DeviceState } {
  const disk = new NullDisk({ ...INFO, writeBack });
  const state = new DeviceState();
  return { field: new WritebackField(new ConfigSpace(disk.info, 1), state, writeBack), state };
}

function ring(base = 0, features = CONFIG_WCE): RingSetup {
  return { base, features } as RingSetup;
}

test('a driver that reads the field and begins is known', () => {
  const { field, state } = fieldOf();
  field.onRead(0, 60);
  assert.ok(field.onRun(ring()));
  assert.equal(state.writeback, true);
  assert.equal(field.kept, Writeback.ON);
  // The ring may stop, and go on.
  assert.ok(field.onRun(ring(77)));
  assert.equal(state.writeback, true);
});

test('one that reads it, or other fields, and goes on is not', () => {
  for (const [offset, sizeBytes, base, features] of [
    [0, 60, 77, CONFIG_WCE],
    [0, ConfigOffset.WRITEBACK, 0, CONFIG_WCE],
    [ConfigOffset.WRITEBACK + 1, 8, 0, CONFIG_WCE],
    [0, 60, 0, CONFIG_WCE | PACKED],
  ] as const) {
    const { field, state } = fieldOf();
    field.onRead(offset, sizeBytes);
    assert.ok(!field.onRun(ring(base, features)));
    assert.equal(state.writeback, false);
    assert.equal(field.kept, Writeback.UNKNOWN);
    state.onFlush();
    assert.equal(state.writeback, true);
    assert.equal(field.kept, Writeback.UNKNOWN, 'it has flushed, and not said');
  }
});

test('packed rings begin elsewhere', () => {
  const { field, state } = fieldOf();
  field.onRead(0, 60);
  assert.ok(field.onRun(ring(firstBase('packed'), CONFIG_WCE | PACKED)));
  assert.equal(state.writeback, true);
});

test('what was kept counts, unless the driver has said something since', () => {
  for (const kept of [Writeback.OFF, Writeback.ON]) {
    const { field, state } = fieldOf(kept === Writeback.OFF);
    field.recall(kept);
    assert.ok(field.onRun(ring(77)));
    assert.equal(state.writeback, kept === Writeback.ON);
  }
  const { field, state } = fieldOf();
  field.onWrite();
  field.recall(Writeback.OFF);
  assert.equal(state.writeback, true);
});

test('what makes no sense, or was not known either, is not recalled', () => {
  for (const kept of [Writeback.UNKNOWN, 3, 255]) {
    const { field, state } = fieldOf();
    field.recall(kept);
    assert.ok(!field.onRun(ring(77)));
    assert.equal(state.writeback, false);
  }
});

test('a flush of an earlier driver says nothing of this one', () => {
  const { field, state } = fieldOf();
  state.onFlush();
  assert.ok(!field.onRun(ring(77)));
  assert.equal(state.writeback, false);
});

test('drivers without the feature, and disks without a cache, need no caution', () => {
  const without = fieldOf();
  assert.ok(without.field.onRun(ring(77, 0n)));
  assert.equal(without.state.writeback, true);
  const stable = fieldOf(false);
  assert.ok(stable.field.onRun(ring(77)));
  stable.state.onFlush();
  assert.equal(stable.state.writeback, false);
});
