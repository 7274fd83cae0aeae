/** What code asks a server for: it may have no compiler that checks it. */
import { ENGINE_CHOICES } from '../../sys/index.ts';
import { ExportError } from '../errors.ts';
import type { VhostUserBlkOptions } from './server.ts';

const MAX_QUEUES = 256;
const MAX_QUEUE_SIZE = 32768;
const MAX_SERIAL_BYTES = 20;

function fail(name: string, value: unknown, expected: string): never {
  throw new ExportError('EXPORT_OPTION', `${name} is ${String(value)}: expected ${expected}`);
}

function checkCount(
  name: string,
  value: number | undefined,
  minimum: number,
  maximum: number,
): void {
  if (value === undefined) return;
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return;
  fail(name, value, `a whole number from ${minimum} to ${maximum}`);
}

/** Throws an `ExportError` EXPORT_OPTION. */
export function checkOptions(options: Omit<VhostUserBlkOptions, 'disk' | 'socket'>): void {
  const { numQueues, queueSize, threads, maxPollUs, serial, engine } = options;
  checkCount('numQueues', numQueues, 1, MAX_QUEUES);
  checkCount('threads', threads, 0, MAX_QUEUES);
  checkCount('maxPollUs', maxPollUs, 0, Number.MAX_SAFE_INTEGER);
  checkCount('queueSize', queueSize, 1, MAX_QUEUE_SIZE);
  if (queueSize !== undefined && !Number.isInteger(Math.log2(queueSize))) {
    fail('queueSize', queueSize, 'a power of two');
  }
  const isSerial = typeof serial === 'string' && Buffer.byteLength(serial) <= MAX_SERIAL_BYTES;
  if (serial !== undefined && !isSerial) {
    fail('serial', serial, `text of at most ${MAX_SERIAL_BYTES} bytes`);
  }
  if (engine !== undefined && !ENGINE_CHOICES.includes(engine)) {
    fail('engine', engine, `one of ${ENGINE_CHOICES.join(', ')}`);
  }
}
