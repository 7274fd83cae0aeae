/**
 * Memory in which a back-end writes down what is under way, kept by the front-end for the next one:
 * a log for each ring, one after the other (vhost-user.rst, "Inflight I/O tracking").
 *
 * How long a log is depends on the format of rings, and so on the features. QEMU sends those before
 * it asks for such memory (since 5.2), and DPDK relies on it; nothing says that it has to be so.
 * Memory that is asked for before is large enough for either format, and where a ring's part is in
 * it is not looked up before the ring runs.
 */
import { createMemfd, type Fd, Mapping, sealSize } from '../sys/index.ts';
import { inflightLogBytes, prepareInflightLog, type RingFormat } from '../virtqueue/index.ts';
import type { InflightPart } from './backend-device.ts';
import { ProtocolError } from './errors.ts';
import { KEPT_BYTES, KeptByte } from './kept-byte.ts';
import type { RequestOf } from './messages.ts';
import { mapSharedFile } from './shared-file.ts';

/** How the messages GET_INFLIGHT_FD and SET_INFLIGHT_FD describe it. */
export type InflightDescription = RequestOf<'GET_INFLIGHT_FD'>;

/** What a back-end can have. */
export interface InflightLimits {
  readonly numQueues: number;
  readonly maxQueueSize: number;
}

/**
 * New memory for as many rings of a size; it keeps its size, whoever has it. The caller sends the
 * descriptor to the front-end, and closes it.
 *
 * @param format - of the rings, or `undefined`: features have not been negotiated.
 */
export function createInflightArea(
  description: InflightDescription,
  limits: InflightLimits,
  format: RingFormat | undefined,
): { readonly fd: Fd; readonly description: InflightDescription } {
  const { numQueues, queueSize } = description;
  checkShape(description, limits);
  const formats: readonly RingFormat[] = format === undefined ? ['split', 'packed'] : [format];
  const strides = formats.map((each) => inflightLogBytes(queueSize, each));
  const stride = Math.max(...strides);
  const mmapSize = numQueues * stride + KEPT_BYTES;
  const fd = createMemfd('vhost-inflight', mmapSize);
  sealSize(fd);
  const mapping = Mapping.ofFile(fd.number, 0, mmapSize);
  if (format === 'packed') {
    for (let index = 0; index < numQueues; index++) {
      prepareInflightLog(mapping.view(index * stride, stride), queueSize);
    }
  }
  KeptByte.create(mapping);
  mapping.close();
  return { fd, description: { mmapSize, mmapOffset: 0, numQueues, queueSize, padding: 0 } };
}

function checkShape({ numQueues, queueSize }: InflightDescription, limits: InflightLimits): void {
  if (numQueues < 1 || numQueues > limits.numQueues) {
    throw badArea(`for ${numQueues} rings, of which there are ${limits.numQueues}`);
  }
  if (queueSize < 1 || queueSize > limits.maxQueueSize) {
    throw badArea(`for rings of ${queueSize} descriptors, at most ${limits.maxQueueSize}`);
  }
}

function badArea(what: string): ProtocolError {
  return new ProtocolError('BAD_MEMORY', `in-flight memory ${what}`);
}

/** See the module's comment: mapped. */
export class InflightArea {
  readonly #mapping: Mapping;
  readonly #numQueues: number;
  readonly #queueSize: number;

  /** What SET_INFLIGHT_FD brings. The descriptor stays the caller's. @throws ProtocolError. */
  constructor(description: InflightDescription, fd: Fd, limits: InflightLimits) {
    const { mmapSize, mmapOffset, numQueues, queueSize } = description;
    checkShape(description, limits);
    const needed = numQueues * inflightLogBytes(queueSize, 'split');
    if (mmapSize < needed) throw badArea(`of ${mmapSize} bytes, which must be ${needed}`);
    if (mmapOffset % BigUint64Array.BYTES_PER_ELEMENT !== 0) {
      throw badArea(`that starts at ${mmapOffset}, which is misaligned`);
    }
    this.#numQueues = numQueues;
    this.#queueSize = queueSize;
    this.#mapping = mapSharedFile(fd, {
      what: 'in-flight memory',
      descriptor: 'the descriptor',
      ...{ offsetBytes: mmapOffset, sizeBytes: mmapSize },
      code: 'BAD_MEMORY',
    });
  }

  /** What the last back-end has kept of its device, if it has and this memory has a place for it. */
  get kept(): number | undefined {
    return KeptByte.find(this.#mapping)?.value;
  }

  /** Keep a byte for the next back-end, if there is a place for it. */
  keep(byte: number): void {
    const place = KeptByte.find(this.#mapping);
    if (place !== undefined) place.value = byte;
  }

  /** The part of a ring, for one run. @throws ProtocolError if there is none that fits. */
  partOf(index: number, size: number, format: RingFormat): InflightPart {
    const queueSize = this.#queueSize;
    if (index >= this.#numQueues) throw badArea(`has no part for ring ${index}`);
    if (size > queueSize)
      throw badArea(`is for ${queueSize} descriptors, ring ${index} has ${size}`);
    const stride = inflightLogBytes(queueSize, format);
    const needed = this.#numQueues * stride;
    const { sizeBytes } = this.#mapping;
    if (needed > sizeBytes) {
      throw badArea(`of ${sizeBytes} bytes, which for ${format} rings must be ${needed}`);
    }
    const offsetBytes = index * stride;
    return { mapping: this.#mapping.handle(), offsetBytes, queueSize };
  }

  /** The device has been reset: nothing is under way. No ring runs. What is kept stays. */
  clear(): void {
    const hasPlace = KeptByte.find(this.#mapping) !== undefined;
    const logsBytes = this.#mapping.sizeBytes - (hasPlace ? KEPT_BYTES : 0);
    new Uint8Array(this.#mapping.view(0, logsBytes)).fill(0);
  }

  close(): void {
    this.#mapping.close();
  }
}
