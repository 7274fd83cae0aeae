/** A filter over one disk, for another thread. */
import type { DiskHandle } from '../disk.ts';
import type { EncryptSettings } from '../luks/encrypt-disk.ts';
import type { DelaySettings } from './delay.ts';
import type { ErrorSettings } from './error/error-rule.ts';
import type { StatsSettings } from './stats/stats.ts';
import type { ThrottleGroupHandle } from './throttle/throttle-group.ts';

/** By kind: what its constructor takes besides the disk: plain data, and memory that is shared. */
export interface FilterSettings {
  readonly readonly: undefined;
  readonly throttle: ThrottleGroupHandle;
  readonly delay: DelaySettings;
  readonly error: ErrorSettings;
  readonly encrypt: EncryptSettings;
  readonly stats: StatsSettings;
}

/** Of one kind of filter: `adoptDisk` knows them. */
export interface HandleOf<Kind extends keyof FilterSettings> {
  readonly kind: Kind;
  readonly lower: DiskHandle;
  readonly settings: FilterSettings[Kind];
}

/** See the module's comment. */
export type FilterHandle = {
  readonly [Kind in keyof FilterSettings]: HandleOf<Kind>;
}[keyof FilterSettings];
