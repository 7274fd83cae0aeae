/** Makes one side of a ring of whichever format was negotiated. */
import type { DeviceRing } from './device-ring.ts';
import type { DriverRing, DriverRingOptions } from './driver-ring.ts';
import type { InflightLog } from './inflight-log.ts';
import { PackedDriverRing } from './packed-driver-ring.ts';
import { PackedRing } from './packed-ring.ts';
import type { RingFormat, RingMemory } from './ring-format.ts';
import { SplitDriverRing } from './split-driver-ring.ts';
import { SplitRing } from './split-ring.ts';

/**
 * The device's side.
 *
 * @param eventIdx - VIRTIO_F_EVENT_IDX was negotiated.
 * @param base - where to go on: see `isValidBase`.
 * @param log - of requests under way, of a split ring.
 */
export function createDeviceRing(
  format: RingFormat,
  memory: RingMemory,
  eventIdx: boolean,
  base: number,
  log?: InflightLog,
): DeviceRing {
  return format === 'packed'
    ? new PackedRing(memory, eventIdx, base)
    : new SplitRing(memory, eventIdx, base, log);
}

/** The driver's side of a ring that starts empty: its memory is all zeros. */
export function createDriverRing(
  format: RingFormat,
  memory: RingMemory,
  options: DriverRingOptions,
): DriverRing {
  return format === 'packed'
    ? new PackedDriverRing(memory, options)
    : new SplitDriverRing(memory, options);
}
