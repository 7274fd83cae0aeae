/** Makes one side of a ring of whichever format was negotiated. */
import type { DeviceRing } from './device-ring.ts';
import type { DriverRing, DriverRingOptions } from './driver-ring.ts';
import type { InflightMemory } from './inflight-memory.ts';
import { PackedDriverRing } from './packed-driver-ring.ts';
import { PackedInflightLog } from './packed-inflight-log.ts';
import { PackedRing } from './packed-ring.ts';
import type { RingFormat, RingMemory } from './ring-format.ts';
import { SplitDriverRing } from './split-driver-ring.ts';
import { SplitInflightLog } from './split-inflight-log.ts';
import { SplitRing } from './split-ring.ts';

/**
 * The device's side.
 *
 * @param eventIdx - VIRTIO_F_EVENT_IDX was negotiated.
 * @param base - where to go on: see `isValidBase`.
 * @param inflight - where to write down which chains are under way, and to find which were.
 */
export function createDeviceRing(
  format: RingFormat,
  memory: RingMemory,
  eventIdx: boolean,
  base: number,
  inflight?: InflightMemory,
): DeviceRing {
  if (format === 'packed') {
    const log = inflight && new PackedInflightLog(inflight, memory.size);
    return new PackedRing(memory, eventIdx, base, log);
  }
  return new SplitRing(memory, eventIdx, base, inflight && new SplitInflightLog(inflight));
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
