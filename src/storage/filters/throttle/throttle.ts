/** The filter `throttle`: so many requests or bytes a second, and no more. */
import { type Clock, monotonicClock, type Reactor } from '../../../sys/index.ts';
import type { Disk, DiskChannel, DiskRequestHandler } from '../../disk.ts';
import type { DiskRequests } from '../../disk-requests.ts';
import { type DiskKind, type DiskLike, DiskPlan, writtenName } from '../../plan/disk-kind.ts';
import { FilterDisk } from '../filter-disk.ts';
import type { HandleOf } from '../filter-handle.ts';
import { ThrottleChannel } from './throttle-channel.ts';
import { ThrottleGroup, type ThrottleGroupHandle } from './throttle-group.ts';
import { LIMITED, limitSpecs, limitsOf, type ThrottleParameters } from './throttle-limits.ts';

/** See the module's comment. */
export class ThrottleDisk extends FilterDisk {
  readonly kind = 'throttle';
  readonly description: string;
  readonly #group: ThrottleGroup;
  readonly #clock: Clock;

  /** @param clock - the same in all threads. */
  constructor(lower: Disk, group: ThrottleGroup, clock: Clock = monotonicClock) {
    super(lower);
    this.#group = group;
    this.#clock = clock;
    this.description = describe(group.handle);
  }

  openChannel(reactor: Reactor, requests: DiskRequests, handler: DiskRequestHandler): DiskChannel {
    const place = { below: this.lower, reactor, requests, handler };
    return new ThrottleChannel(place, this.#group, this.#clock);
  }

  share(): HandleOf<'throttle'> {
    return { kind: 'throttle', lower: this.lower.share(), settings: this.#group.handle };
  }
}

function describe({ limits }: ThrottleGroupHandle): string {
  const inForce = LIMITED.map((name, index) => ({ name: writtenName(name), ...limits[index] }));
  const texts = inForce
    .filter(({ average }) => average > 0)
    .map(({ name, average, max }) => `${name} ${average}${max > 0 ? ` (in bursts ${max})` : ''}`);
  return `at most ${texts.join(', ')}`;
}

/** The kind `throttle`. */
export const throttleKind: DiskKind<ThrottleParameters> = {
  name: 'throttle',
  summary: 'so many requests or bytes a second, and no more',
  below: 'one',
  parameters: limitSpecs(),
  async open({ parameters, openBelow }) {
    const group = ThrottleGroup.create(limitsOf(parameters), parameters.iopsSize ?? 0);
    return new ThrottleDisk(await openBelow(0), group);
  },
};

/** A disk with limits. */
export function throttle(disk: DiskLike, parameters: ThrottleParameters): DiskPlan {
  return new DiskPlan(throttleKind, parameters, [disk]);
}
