/**
 * A device of the client library as command lines name it: a driver, and `property=value` for what
 * is to be set. Assignments come in the order given, but those of properties that are known only
 * once the device is connected wait until then.
 */
import { Blkio, BlkioError } from '../blkio/index.ts';
import { engineFromEnvironment } from '../sys/index.ts';
import { UsageError } from './program.ts';

/** `name=text`. */
export interface Assignment {
  readonly name: string;
  readonly text: string;
}

/** See the module's comment. */
export interface DeviceArguments {
  readonly driver: string;
  readonly assignments: readonly Assignment[];
}

/** @throws UsageError: it is not of the form `name=text`. */
export function parseAssignment(word: string): Assignment {
  const equals = word.indexOf('=');
  if (equals > 0) return { name: word.slice(0, equals), text: word.slice(equals + 1) };
  throw new UsageError(`"${word}" is not of the form property=value`);
}

/** Whether a property is given a value. */
export function isAssigned({ assignments }: DeviceArguments, name: string): boolean {
  return assignments.some((assignment) => assignment.name === name);
}

/** With a value for a property that was not given one. */
export function withDefault(device: DeviceArguments, name: string, text: string): DeviceArguments {
  if (isAssigned(device, name)) return device;
  return { ...device, assignments: [...device.assignments, { name, text }] };
}

/** What the user wrote is wrong, whatever the device is. */
function asUsage<Result>(body: () => Result): Result {
  try {
    return body();
  } catch (error) {
    if (error instanceof BlkioError) throw new UsageError(error.message);
    throw error;
  }
}

/** Reactors are made with it later on, where it is nobody's command line any more. */
function checkEngine(): void {
  try {
    engineFromEnvironment();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Make the device, and set what can be set before it is connected. @throws UsageError. */
export function createDevice(given: DeviceArguments): Blkio {
  checkEngine();
  const device = asUsage(() => new Blkio(given.driver));
  const later = laterProperties(device);
  for (const { name, text } of given.assignments) {
    if (!later.has(name)) asUsage(() => device.setText(name, text));
  }
  return device;
}

/** Connect, and set the rest. @throws UsageError; BlkioError: the device can't be reached. */
export async function connectDevice(device: Blkio, given: DeviceArguments): Promise<void> {
  await device.connect();
  const later = laterProperties(device);
  for (const { name, text } of given.assignments) {
    if (later.has(name)) asUsage(() => device.setText(name, text));
  }
}

function laterProperties(device: Blkio): ReadonlySet<string> {
  const later = device
    .listProperties()
    .filter(
      ({ readableFrom, writableUntil }) =>
        readableFrom === 'connected' && writableUntil === 'connected',
    );
  return new Set(later.map(({ name }) => name));
}
