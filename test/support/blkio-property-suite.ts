/** Properties: types, access, defaults, and the error of each thing that can't be done to one. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  Blkio,
  driverNames,
  type PropertyInfo,
  type PropertyValue,
} from '../../src/blkio/index.ts';
import { type BlkioPlace, DISK_BYTES } from './blkio-place.ts';
import { withCode } from './blkio-queue-results.ts';

/** Those of all devices: type, when they can be read, and until when they can be set. */
const COMMON: Readonly<Record<string, string>> = {
  driver: 'str, created',
  'read-only': 'bool, created, created',
  'can-add-queues': 'bool, created',
  capacity: 'uint64, connected',
  'max-queues': 'int, connected',
  'num-queues': 'int, connected, connected',
  'num-poll-queues': 'int, connected, connected',
  'supports-poll-queues': 'bool, connected',
  'needs-mem-regions': 'bool, connected',
  'needs-mem-region-fd': 'bool, connected',
  'may-pin-mem-regions': 'bool, connected',
  'mem-region-alignment': 'uint64, connected',
  'max-mem-regions': 'uint64, connected',
  'buf-alignment': 'int, connected',
  'optimal-buf-alignment': 'int, connected',
  'request-alignment': 'int, connected',
  'optimal-io-alignment': 'int, connected',
  'optimal-io-size': 'int, connected',
  'max-segments': 'int, connected',
  'max-segment-len': 'int, connected',
  'max-transfer': 'int, connected',
  'max-write-zeroes-len': 'uint64, connected',
  'max-discard-len': 'uint64, connected',
  'discard-alignment': 'int, connected',
  'discard-alignment-offset': 'int, connected',
  'supports-fua-natively': 'bool, connected',
  'flush-needed': 'bool, connected',
  'can-grow': 'bool, connected',
  path: 'str, created, created',
};

const OF_DRIVER: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  io_uring: {
    fd: 'int, created, created',
    direct: 'bool, created, created',
    'num-entries': 'int, connected, connected',
  },
  'virtio-blk-vhost-user': {
    packed: 'bool, created, created',
    'queue-size': 'int, connected, connected',
    'max-queue-size': 'int, connected',
  },
};

/** Values that are the same at all places of a driver. */
const DEFAULTS: Readonly<Record<string, Readonly<Record<string, PropertyValue>>>> = {
  io_uring: {
    driver: 'io_uring',
    'read-only': false,
    'can-add-queues': true,
    'max-queues': 2 ** 31 - 1,
    'num-queues': 1,
    'num-poll-queues': 0,
    'needs-mem-regions': false,
    'needs-mem-region-fd': false,
    'may-pin-mem-regions': false,
    'max-mem-regions': 2n ** 64n - 1n,
    'optimal-buf-alignment': 4096,
    'max-segment-len': 0,
    'max-transfer': 0,
    'max-write-zeroes-len': 0n,
    'max-discard-len': 0n,
    'supports-fua-natively': true,
    'num-entries': 128,
    fd: -1,
  },
  'virtio-blk-vhost-user': {
    driver: 'virtio-blk-vhost-user',
    'read-only': false,
    'can-add-queues': false,
    'num-queues': 1,
    'num-poll-queues': 0,
    'supports-poll-queues': true,
    'needs-mem-regions': true,
    'needs-mem-region-fd': true,
    'may-pin-mem-regions': true,
    'mem-region-alignment': 4096n,
    'buf-alignment': 1,
    'optimal-buf-alignment': 4096,
    'request-alignment': 512,
    'supports-fua-natively': false,
    packed: false,
    'queue-size': 256,
    'max-queue-size': 32768,
  },
};

const JS_TYPES = { bool: 'boolean', int: 'number', uint64: 'bigint', str: 'string' } as const;
/** A value of each type that any property of the type could be given, and one of another type. */
const SAMPLES = { bool: true, int: 1, uint64: 1n, str: 'x' } as const;
const OTHERS = { bool: 1, int: '1', uint64: 1, str: true } as const;

function summary({ type, readableFrom, writableUntil }: PropertyInfo): string {
  return [type, readableFrom, writableUntil].filter((part) => part !== undefined).join(', ');
}

/** See the module's comment. */
export function propertySuite(place: BlkioPlace): void {
  const { name, driver, skip } = place;
  suite(`properties, ${name}`, () => {
    test('all of libblkio are there, with their types and access', { skip }, () => {
      using device = new Blkio(driver);
      const list = device.listProperties();
      const found = new Map(list.map((info) => [info.name, info]));
      for (const [property, expected] of Object.entries({ ...COMMON, ...OF_DRIVER[driver] })) {
        const info = found.get(property);
        assert.ok(info !== undefined, `no property ${property}`);
        assert.equal(summary(info), expected, property);
        assert.notEqual(info.description, '');
      }
      const names = list.map((info) => info.name);
      assert.deepEqual(names, [...names].sort());
    });

    test('each has a value of its type once the device is connected', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      for (const { name: property, type } of device.listProperties()) {
        const value = device.get(property);
        assert.equal(typeof value, JS_TYPES[type], property);
        assert.equal(device.getTyped(property, type), value);
      }
    });

    test('defaults and limits', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      for (const [property, expected] of Object.entries(DEFAULTS[driver])) {
        assert.equal(device.get(property), expected, property);
      }
      assert.equal(device.get('can-grow'), place.canGrow);
      assert.equal(device.get('path'), disk.path);
      assert.equal(device.get('capacity'), BigInt(DISK_BYTES));
      assert.equal(device.capacityBytes, DISK_BYTES);
      assert.ok(device.getTyped('max-segments', 'int') >= 1);
    });

    test('before the device is connected, what is known of it: ENODEV', { skip }, () => {
      using device = new Blkio(driver);
      for (const { name: property, readableFrom } of device.listProperties()) {
        if (readableFrom === 'created') assert.notEqual(device.get(property), undefined);
        else assert.throws(() => device.get(property), withCode('ENODEV'), property);
      }
      assert.throws(() => device.capacityBytes, withCode('ENODEV'));
    });

    test('no property of that name: ENOENT', { skip }, () => {
      using device = new Blkio(driver);
      for (const unknown of ['', 'Capacity', 'constructor', '__proto__', 'read_only']) {
        assert.throws(() => device.get(unknown), withCode('ENOENT'));
        assert.throws(() => device.getTyped(unknown, 'int'), withCode('ENOENT'));
        assert.throws(() => device.set(unknown, 1), withCode('ENOENT'));
        assert.throws(() => device.setText(unknown, '1'), withCode('ENOENT'));
      }
    });

    test('another type than the property has: ENOTTY', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      for (const { name: property, type } of device.listProperties()) {
        const other = type === 'str' ? 'bool' : 'str';
        assert.throws(() => device.getTyped(property, other), withCode('ENOTTY'), property);
        assert.throws(() => device.set(property, OTHERS[type]), withCode('ENOTTY'), property);
      }
      // What does not fit in 32 bits is no int.
      assert.throws(() => device.set('num-queues', 2 ** 31), withCode('ENOTTY'));
      assert.throws(() => device.set('num-queues', 0.5), withCode('ENOTTY'));
    });

    test('setting what can only be read: EACCES', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      for (const { name: property, type, writableUntil } of device.listProperties()) {
        if (writableUntil !== undefined) continue;
        assert.throws(() => device.set(property, SAMPLES[type]), withCode('EACCES'), property);
      }
      assert.throws(() => device.setText('capacity', '1'), withCode('EACCES'));
    });

    test('setting too late: EBUSY', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      const attempt = (until: string): void => {
        for (const { name: property, type, writableUntil } of device.listProperties()) {
          if (writableUntil !== until) continue;
          const before = device.get(property);
          assert.throws(() => device.set(property, SAMPLES[type]), withCode('EBUSY'), property);
          assert.equal(device.get(property), before);
        }
      };
      attempt('created');
      await device.start();
      attempt('created');
      attempt('connected');
      assert.throws(() => device.setText('read-only', 'true'), withCode('EBUSY'));
    });

    test('values that make no sense: EINVAL, and the old one stays', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      const wrong: readonly (readonly [string, readonly number[]])[] = [
        ['num-queues', [-1]],
        ['num-poll-queues', [-1]],
        driver === 'io_uring'
          ? ['num-entries', [0, -1, 2 ** 31 - 1]]
          : ['queue-size', [0, -1, 3, 100, 65536]],
      ];
      for (const [property, values] of wrong) {
        const before = device.get(property);
        for (const value of values) {
          assert.throws(() => device.set(property, value), withCode('EINVAL'), property);
        }
        assert.equal(device.get(property), before);
      }
    });

    test('values from text', { skip }, async () => {
      await using disk = await place.start();
      const device = disk.device();
      device.setText('read-only', 'true');
      assert.equal(device.get('read-only'), true);
      device.setText('read-only', 'false');
      assert.equal(device.get('read-only'), false);
      for (const text of ['', 'True', '1', 'yes', ' true']) {
        assert.throws(() => device.setText('read-only', text), withCode('EINVAL'));
      }
      device.setText('path', disk.path);
      await device.connect();
      device.setText('num-queues', '2');
      assert.equal(device.get('num-queues'), 2);
      for (const text of ['', ' 1', '1.0', '0x1', '1e1', '2147483648', 'one', '-1']) {
        assert.throws(() => device.setText('num-queues', text), withCode('EINVAL'), text);
      }
    });

    test('limits make sense together', { skip }, async () => {
      await using disk = await place.start();
      const device = await disk.connected();
      const int = (property: string): number => device.getTyped(property, 'int');
      const unit = int('request-alignment');
      assert.equal(DISK_BYTES % unit, 0);
      for (const property of ['discard-alignment', 'optimal-io-size', 'max-transfer']) {
        assert.equal(int(property) % unit, 0, property);
      }
      assert.equal(int('optimal-buf-alignment') % int('buf-alignment'), 0);
      assert.ok(int('optimal-io-alignment') >= 1);
      // Back-ends may say what they like.
      if (driver === 'io_uring') assert.equal(device.get('flush-needed'), true);
    });
  });
}

/** What holds without a place. */
export function driverNameSuite(): void {
  suite('drivers', () => {
    test('are those of libblkio that this library has', () => {
      assert.deepEqual([...driverNames], ['io_uring', 'virtio-blk-vhost-user']);
    });

    test('an unknown one: ENOENT', () => {
      for (const unknown of ['', 'nvme', 'toString', '__proto__']) {
        assert.throws(() => new Blkio(unknown), withCode('ENOENT'));
      }
    });
  });
}
