/**
 * The limits of a throttle, with QEMU's names and meaning (docs/throttle.txt there): averages, what
 * may be exceeded in bursts, and for how long.
 */
import { StorageError } from '../../errors.ts';
import { type ParameterSpec, writtenName } from '../../plan/disk-kind.ts';
import { bytes, count, type ParameterType } from '../../plan/parameter-types.ts';

/** What is limited: bytes or operations; of reads, of writes, or of both together. */
export const LIMITED = [
  'bpsTotal',
  'bpsRead',
  'bpsWrite',
  'iopsTotal',
  'iopsRead',
  'iopsWrite',
] as const;
export type Limited = (typeof LIMITED)[number];

/** A limit's average, what it may be in a burst, and how long the burst may last. */
type LimitParameters = {
  readonly [Name in Limited | `${Limited}Max` | `${Limited}MaxLength`]?: number;
};

/** See the module's comment. 0, as absence: no limit. */
export interface ThrottleParameters extends LimitParameters {
  /** Of IOPS limits: a request of more bytes counts as several operations. */
  readonly iopsSize?: number;
}

/** One limit, complete. */
export interface Limit {
  /** Units a second; 0: no limit. */
  readonly average: number;
  /** Units a second in a burst; 0: no bursts but for a tenth of a second of the average. */
  readonly max: number;
  /** Seconds that a burst at `max` may last. */
  readonly maxLength: number;
}

/** As QEMU has it. */
const MAX_VALUE = 1e15;
const MAX_LENGTH = 2 ** 31 - 1;

const UNITS: Readonly<Record<'bps' | 'iops', ParameterType<number>>> = {
  bps: bytes(0, MAX_VALUE),
  iops: count(0, MAX_VALUE),
};

/** The parameters, for the kind. */
export function limitSpecs(): Record<keyof ThrottleParameters, ParameterSpec<number>> {
  const specs: Partial<Record<keyof ThrottleParameters, ParameterSpec<number>>> = {};
  for (const name of LIMITED) {
    const type = name.startsWith('bps') ? UNITS.bps : UNITS.iops;
    const unit = name.startsWith('bps') ? 'bytes' : 'operations';
    specs[name] = { type, summary: `${unit} a second, on average` };
    specs[`${name}Max`] = { type, summary: `${unit} a second, in a burst` };
    specs[`${name}MaxLength`] = {
      type: count(1, MAX_LENGTH, 'seconds'),
      summary: 'seconds that a burst may last',
    };
  }
  specs.iopsSize = { type: bytes(0, MAX_VALUE), summary: 'bytes that count as one operation' };
  return specs as Record<keyof ThrottleParameters, ParameterSpec<number>>;
}

/** Limits in the order of `LIMITED`. Throws a `StorageError` DISK_OPTION if they contradict. */
export function limitsOf(parameters: ThrottleParameters): readonly Limit[] {
  const limits = LIMITED.map((name) => ({
    average: parameters[name] ?? 0,
    max: parameters[`${name}Max`] ?? 0,
    maxLength: parameters[`${name}MaxLength`] ?? 1,
  }));
  limits.forEach((limit, index) => {
    checkLimit(LIMITED[index], limit);
  });
  checkTotals(limits);
  const hasIops = limits.slice(3).some(({ average }) => average > 0);
  if ((parameters.iopsSize ?? 0) > 0 && !hasIops) fail('iops-size is for limits of iops');
  if (limits.every(({ average }) => average === 0)) {
    fail('nothing is limited: say iops-total=<n>, bps-total=<bytes>, or others');
  }
  return limits;
}

function fail(problem: string): never {
  throw new StorageError('DISK_OPTION', `throttle: ${problem}`);
}

function checkLimit(limited: Limited, { average, max, maxLength }: Limit): void {
  const name = writtenName(limited);
  if (max > 0 && average === 0) fail(`${name}-max is ${max}, but there is no ${name}`);
  if (max > 0 && max < average) fail(`${name}-max is ${max}: less than ${name}, ${average}`);
  if (maxLength > 1 && max === 0) fail(`${name}-max-length is for bursts: there is no ${name}-max`);
  if (max * maxLength > MAX_VALUE) {
    fail(`${name}-max-length is ${maxLength}: at most ${Math.floor(MAX_VALUE / max)} at that rate`);
  }
}

/** A total, and one of reads or of writes, would be two limits of one thing. */
function checkTotals(limits: readonly Limit[]): void {
  for (const first of [0, 3]) {
    for (const key of ['average', 'max'] as const) {
      const [total, read, write] = limits.slice(first, first + 3).map((limit) => limit[key]);
      if (total === 0 || (read === 0 && write === 0)) continue;
      const suffix = key === 'max' ? '-max' : '';
      const [a, b, c] = LIMITED.slice(first, first + 3).map((name) => writtenName(name) + suffix);
      fail(`${a} excludes ${b} and ${c}`);
    }
  }
}
