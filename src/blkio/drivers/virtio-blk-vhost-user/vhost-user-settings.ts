/** What people can set of a vhost-user device, as properties. */
import { isValidRingSize, MAX_RING_SIZE } from '../../../virtqueue/index.ts';
import { BlkioError } from '../../errors.ts';
import type { Property } from '../../property-table.ts';

/** See the module's comment. */
export interface VhostUserSettings {
  path: string;
  queueSize: number;
  /** Use packed rings, and no others. */
  packed: boolean;
  /** Longest wait for an answer of the back-end. */
  timeoutMs: number;
  /** Wait before the first attempt to connect again; 0: do not. */
  reconnectMs: number;
  /** Attempts before the device is given up; 0: no limit. */
  reconnectLimit: number;
}

/** The defaults. */
export function defaultSettings(): VhostUserSettings {
  return {
    path: '',
    queueSize: 256,
    packed: false,
    timeoutMs: 10_000,
    reconnectMs: 0,
    reconnectLimit: 0,
  };
}

/** A property that is a number with bounds, settable before the device is connected. */
function numberProperty(
  name: string,
  description: string,
  settings: VhostUserSettings,
  field: 'timeoutMs' | 'reconnectMs' | 'reconnectLimit',
  minimum: number,
): Property {
  return {
    name,
    type: 'int',
    description: `${description} Default: ${settings[field]}.`,
    readableFrom: 'created',
    writableUntil: 'created',
    get: () => settings[field],
    set: (value) => {
      if ((value as number) < minimum) {
        throw new BlkioError('EINVAL', `${name} ${String(value)}: at least ${minimum}`);
      }
      settings[field] = value as number;
    },
  };
}

/** The properties that show and change settings. */
export function settingsProperties(settings: VhostUserSettings): readonly Property[] {
  return [
    {
      name: 'path',
      type: 'str',
      description: 'The unix socket of the back-end.',
      readableFrom: 'created',
      writableUntil: 'created',
      get: () => settings.path,
      set: (value) => {
        settings.path = value as string;
      },
    },
    {
      name: 'queue-size',
      type: 'int',
      description: 'Descriptors of each ring, a power of two. Default: 256.',
      readableFrom: 'connected',
      writableUntil: 'connected',
      get: () => settings.queueSize,
      set: (value) => {
        if (!isValidRingSize(value as number) || (value as number) > MAX_QUEUE_SIZE) {
          const text = `queue-size ${String(value)}: a power of two, at most ${MAX_QUEUE_SIZE}`;
          throw new BlkioError('EINVAL', text);
        }
        settings.queueSize = value as number;
      },
    },
    {
      name: 'packed',
      type: 'bool',
      description:
        'Use packed rings (VIRTIO_F_RING_PACKED), which the back-end must have. Default: false.',
      readableFrom: 'created',
      writableUntil: 'created',
      get: () => settings.packed,
      set: (value) => {
        settings.packed = value as boolean;
      },
    },
    {
      name: 'max-queue-size',
      type: 'int',
      description: 'Largest queue-size.',
      readableFrom: 'connected',
      get: () => MAX_QUEUE_SIZE,
    },
    numberProperty(
      'timeout-ms',
      'Longest wait for an answer of the back-end, in milliseconds.',
      settings,
      'timeoutMs',
      1,
    ),
    numberProperty(
      'reconnect-ms',
      'Connect again to a back-end that went away, after so many milliseconds; 0: do not.',
      settings,
      'reconnectMs',
      0,
    ),
    numberProperty(
      'reconnect-limit',
      'Attempts to connect again before the device is given up; 0: no limit.',
      settings,
      'reconnectLimit',
      0,
    ),
  ];
}

const MAX_QUEUE_SIZE = MAX_RING_SIZE;
