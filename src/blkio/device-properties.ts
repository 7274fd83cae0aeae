/** The properties that every device has, whatever its driver; names and types are libblkio's. */

import type { DeviceLimits, Driver } from './driver.ts';
import { BlkioError } from './errors.ts';
import type { Property, PropertyType, PropertyTypes } from './property-table.ts';

/** What the user has chosen. */
export interface DeviceChoices {
  readOnly: boolean;
  numQueues: number;
  numPollQueues: number;
}

/** Properties that only report a limit: name, type, meaning, and where the value comes from. */
const LIMITS: readonly (readonly [
  name: string,
  type: PropertyType,
  description: string,
  value: (limits: DeviceLimits) => number | boolean | bigint,
])[] = [
  ['max-queues', 'int', 'Most queues without polling.', (l) => l.maxQueues],
  [
    'supports-poll-queues',
    'bool',
    'Whether there can be poll queues.',
    (l) => l.supportsPollQueues,
  ],
  [
    'needs-mem-regions',
    'bool',
    'The device reaches only mapped memory regions; other buffers are copied.',
    (l) => l.needsMemRegions,
  ],
  ['needs-mem-region-fd', 'bool', 'Regions need a file.', (l) => l.needsMemRegionFd],
  ['may-pin-mem-regions', 'bool', 'Mapped pages may be pinned.', (l) => l.mayPinMemRegions],
  [
    'mem-region-alignment',
    'uint64',
    'Addresses and sizes of regions are multiples of it, in bytes.',
    (l) => l.memRegionAlignment,
  ],
  ['max-mem-regions', 'uint64', 'Most regions mapped at a time.', (l) => l.maxMemRegions],
  ['buf-alignment', 'int', 'Buffers start at multiples of it, in bytes.', (l) => l.bufAlignment],
  ['optimal-buf-alignment', 'int', 'What is best for that.', (l) => l.optimalBufAlignment],
  [
    'request-alignment',
    'int',
    'Offsets and lengths of requests are multiples of it, in bytes.',
    (l) => l.requestAlignment,
  ],
  ['optimal-io-alignment', 'int', 'What is best for that.', (l) => l.optimalIoAlignment],
  [
    'optimal-io-size',
    'int',
    'Best length for throughput, in bytes; 0: any.',
    (l) => l.optimalIoSize,
  ],
  ['max-segments', 'int', 'Most buffers in a request.', (l) => l.maxSegments],
  ['max-segment-len', 'int', 'Longest buffer of a request; 0: no limit.', (l) => l.maxSegmentLen],
  ['max-transfer', 'int', 'Longest read or write, in bytes; 0: no limit.', (l) => l.maxTransfer],
  [
    'max-write-zeroes-len',
    'uint64',
    'Longest write-zeroes, in bytes; 0: no limit.',
    (l) => l.maxWriteZeroesLen,
  ],
  ['max-discard-len', 'uint64', 'Longest discard, in bytes; 0: no limit.', (l) => l.maxDiscardLen],
  [
    'discard-alignment',
    'int',
    'Ranges to discard are best multiples of it, in bytes.',
    (l) => l.discardAlignment,
  ],
  [
    'discard-alignment-offset',
    'int',
    'Where the first such range starts, in bytes.',
    (l) => l.discardAlignmentOffset,
  ],
  ['supports-fua-natively', 'bool', 'FUA needs no flush of its own.', (l) => l.supportsFuaNatively],
  ['flush-needed', 'bool', 'Writes that are done may be volatile.', (l) => l.flushNeeded],
  ['can-grow', 'bool', 'Writing behind the end makes it larger.', (l) => l.canGrow],
];

function limitProperty(
  [name, type, description, value]: (typeof LIMITS)[number],
  limits: () => DeviceLimits,
): Property {
  const get = (): PropertyTypes[typeof type] => {
    const found = value(limits());
    return type === 'uint64' ? BigInt(found) : found;
  };
  return { name, type, description, readableFrom: 'connected', get };
}

/** Those that people set. */
function choiceProperties(choices: DeviceChoices, limits: () => DeviceLimits): Property[] {
  const checkCount = (count: number, most: number): void => {
    if (count >= 0 && count <= most) return;
    throw new BlkioError('EINVAL', `${count} queues: 0 to ${most} are possible`);
  };
  return [
    {
      name: 'read-only',
      type: 'bool',
      description: 'Only read. Default: false.',
      readableFrom: 'created',
      writableUntil: 'created',
      get: () => choices.readOnly,
      set: (value) => {
        choices.readOnly = value as boolean;
      },
    },
    {
      name: 'num-queues',
      type: 'int',
      description: 'Queues to start. Default: 1.',
      readableFrom: 'connected',
      writableUntil: 'connected',
      get: () => choices.numQueues,
      set: (value) => {
        checkCount(value as number, limits().maxQueues);
        choices.numQueues = value as number;
      },
    },
    {
      name: 'num-poll-queues',
      type: 'int',
      description: 'Poll queues to start. Default: 0.',
      readableFrom: 'connected',
      writableUntil: 'connected',
      get: () => choices.numPollQueues,
      set: (value) => {
        checkCount(value as number, limits().supportsPollQueues ? limits().maxQueues : 0);
        choices.numPollQueues = value as number;
      },
    },
  ];
}

/** See the module's comment. */
export function deviceProperties(driver: Driver, choices: DeviceChoices): Property[] {
  const limits = (): DeviceLimits => driver.limits();
  return [
    {
      name: 'driver',
      type: 'str',
      description: 'The driver.',
      readableFrom: 'created',
      get: () => driver.name,
    },
    {
      name: 'can-add-queues',
      type: 'bool',
      description: 'Queues can be added and removed later.',
      readableFrom: 'created',
      get: () => driver.canAddQueues,
    },
    {
      name: 'capacity',
      type: 'uint64',
      description: 'Size of the device, in bytes.',
      readableFrom: 'connected',
      get: () => BigInt(driver.capacityBytes()),
    },
    ...choiceProperties(choices, limits),
    ...LIMITS.map((limit) => limitProperty(limit, limits)),
  ];
}
