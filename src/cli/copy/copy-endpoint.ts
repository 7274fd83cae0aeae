/**
 * One side of a copy: a device of the client library. Files are devices of the io_uring driver, but
 * one to write to is made if it is missing, and gets larger as needed.
 */
import { closeSync, openSync, rmSync, statSync, truncateSync } from 'node:fs';
import { type AsyncQueue, type Blkio, BlkioError } from '../../blkio/index.ts';
import {
  type DataRange,
  dataRanges,
  Errno,
  errnoMessage,
  Open,
  openFile,
} from '../../sys/index.ts';
import {
  connectDevice,
  createDevice,
  type DeviceArguments,
  withDefault,
} from '../device-arguments.ts';

/** What is copied from or to. */
export type EndpointSpec =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'blkio'; readonly device: DeviceArguments };

/** A connected device, and what a copy has to know of it. */
export interface Endpoint {
  readonly device: Blkio;
  /** For messages. */
  readonly name: string;
  readonly capacityBytes: number;
  /** From here on the device holds zeros, or has no bytes yet: nothing to do for a hole. */
  readonly zeroFrom: number;
}

const ALIGNMENT = 'request-alignment';

function deviceArguments(spec: EndpointSpec): DeviceArguments {
  if (spec.kind === 'blkio') return spec.device;
  return { driver: 'io_uring', assignments: [{ name: 'path', text: spec.path }] };
}

function nameOf({ driver, assignments }: DeviceArguments): string {
  return assignments.find(({ name }) => name === 'path')?.text ?? driver;
}

/** Offsets and lengths of an endpoint's requests are multiples of it. */
export function alignmentOf({ device }: Endpoint): number {
  return device.getTyped(ALIGNMENT, 'int');
}

/** A connected device to read from. @throws UsageError or BlkioError. */
export async function openInput(spec: EndpointSpec): Promise<Endpoint> {
  const given = withDefault(deviceArguments(spec), 'read-only', 'true');
  const device = createDevice(given);
  await connectDevice(device, given);
  const { capacityBytes } = device;
  return { device, name: nameOf(given), capacityBytes, zeroFrom: capacityBytes };
}

/**
 * A connected device to write at least `sizeBytes` to.
 *
 * @throws UsageError; BlkioError, also when it is too small and cannot grow.
 */
export async function openOutput(spec: EndpointSpec, sizeBytes: number): Promise<Endpoint> {
  const given = deviceArguments(spec);
  const device = createDevice(given);
  const isNew = spec.kind === 'file' && makeFile(spec.path, sizeBytes);
  try {
    await connectDevice(device, given);
  } catch (error) {
    if (isNew && spec.kind === 'file') rmSync(spec.path);
    throw error;
  }
  const name = nameOf(given);
  const before = device.capacityBytes;
  if (before < sizeBytes) {
    if (!device.getTyped('can-grow', 'bool')) {
      const text = `${name} has ${before} bytes and cannot grow: the input has ${sizeBytes}`;
      throw new BlkioError('ENOSPC', text);
    }
    if (spec.kind === 'file') truncateSync(spec.path, sizeBytes);
  }
  const { capacityBytes } = device;
  return { device, name, capacityBytes, zeroFrom: isNew ? 0 : before };
}

/** Make a file of zeros if there is none, or an empty one. False: there is something in it. */
function makeFile(path: string, sizeBytes: number): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats !== undefined && (!stats.isFile() || stats.size > 0)) return false;
  try {
    closeSync(openSync(path, 'a'));
    truncateSync(path, sizeBytes);
    return true;
  } catch (error) {
    const { errno = -Errno.EIO } = error as NodeJS.ErrnoException;
    throw new BlkioError('EACCES', `cannot make ${path}: ${errnoMessage(-errno)}`);
  }
}

/** Start an endpoint's device, with a queue for many requests. */
export async function startQueue({ device }: Endpoint): Promise<AsyncQueue> {
  await device.start();
  return device.asyncQueue(0);
}

/** Where an input has data; the whole of it where that cannot be known. */
export function rangesOf(input: Endpoint): Iterable<DataRange> {
  const { device, capacityBytes } = input;
  const path = device.getTyped('path', 'str');
  const isFile = device.getTyped('driver', 'str') === 'io_uring' && path !== '';
  if (!isFile || !statSync(path).isFile()) return [{ start: 0, end: capacityBytes }];
  return dataRanges(openFile(path, Open.RDONLY), capacityBytes);
}
