/**
 * Memory in which a back-end writes down what is under way, kept by the front-end for the next one:
 * a log for each ring, one after the other (vhost-user.rst, "Inflight I/O tracking").
 */
import { createMemfd, type Fd, type Mapping, sealSize } from '../sys/index.ts';
import { inflightLogBytes } from '../virtqueue/index.ts';
import type { InflightPart } from './backend-device.ts';
import { ProtocolError } from './errors.ts';
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
 * New memory for as many rings of a size, zeroed; it keeps its size, whoever has it. The caller
 * sends the descriptor to the front-end, and closes it.
 */
export function createInflightArea(
  description: InflightDescription,
  limits: InflightLimits,
): { readonly fd: Fd; readonly description: InflightDescription } {
  const { numQueues, queueSize } = description;
  checkShape(description, limits);
  const mmapSize = numQueues * inflightLogBytes(queueSize);
  const fd = createMemfd('vhost-inflight', mmapSize);
  sealSize(fd);
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
    const needed = numQueues * inflightLogBytes(queueSize);
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

  /** The part of a ring, for one run. @throws ProtocolError if there is none that fits. */
  partOf(index: number, size: number): InflightPart {
    const queueSize = this.#queueSize;
    if (index >= this.#numQueues) throw badArea(`has no part for ring ${index}`);
    if (size > queueSize)
      throw badArea(`is for ${queueSize} descriptors, ring ${index} has ${size}`);
    const offsetBytes = index * inflightLogBytes(queueSize);
    return { mapping: this.#mapping.handle(), offsetBytes, queueSize };
  }

  close(): void {
    this.#mapping.close();
  }
}
