/**
 * Worker thread: one side of a ring, which sleeps whenever it may. See two-threads.test.ts.
 */
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { GuestMemory } from '../../src/memory/index.ts';
import { awaitEvent, Mapping, signalEvent } from '../../src/sys/index.ts';
import {
  ChainFault,
  createDeviceRing,
  createDriverRing,
  DescriptorChain,
  type DeviceRing,
  type DriverRing,
  firstBase,
  NO_USED,
  ringBytes,
} from '../../src/virtqueue/index.ts';
import { PART_BYTES, type RingSideOptions } from './ring-side-options.ts';

const options = workerData as RingSideOptions;
const stop = new Int32Array(options.stop);

function isStopped(): boolean {
  return Atomics.load(stop, 0) !== 0;
}

function mapRing(mapping: Mapping) {
  const bytes = ringBytes(options.size, options.format);
  return {
    size: options.size,
    descriptors: mapping.view(0, bytes.descriptors),
    available: mapping.view(PART_BYTES, bytes.available),
    used: mapping.view(2 * PART_BYTES, bytes.used),
  };
}

/** Answers each chain with its address as the length. */
function runDevice(ring: DeviceRing): void {
  const chain = new DescriptorChain();
  const nowhere = new GuestMemory([]);
  let batch = 0;
  while (!isStopped()) {
    const available = ring.availableCount();
    assert.ok(available >= 0, 'the available index is possible');
    if (available === 0) {
      if (ring.requestKicks()) awaitEvent(options.kickFd);
      ring.suppressKicks();
      continue;
    }
    batch += 1;
    for (let taken = 0; taken < Math.min(available, 1 + (batch % 5)); taken++) {
      assert.equal(ring.takeChain(chain, nowhere, false), ChainFault.OK);
      ring.pushUsed(chain.token, chain.addressLow[0]);
    }
    if (ring.publish()) signalEvent(options.callFd);
  }
}

/** Sends numbered chains and checks the answers. */
function runDriver(ring: DriverRing): void {
  const sent = new Uint32Array(ring.size);
  let begun = 0;
  let done = 0;
  while (done < options.chains && !isStopped()) {
    const burst = 1 + (begun % 7);
    for (let made = 0; made < burst && begun < options.chains && ring.begin(1); made++) {
      ring.add(begun, 0, 16, false);
      sent[ring.commit()] = begun;
      begun += 1;
    }
    if (ring.publish()) signalEvent(options.kickFd);
    for (let head = ring.takeUsed(); head !== NO_USED; head = ring.takeUsed()) {
      assert.ok(head >= 0, 'the device used a chain under way');
      assert.equal(ring.usedLength, sent[head]);
      done += 1;
    }
    if (ring.inFlight > 0 && ring.freeCount < burst && ring.requestCalls()) {
      awaitEvent(options.callFd);
      ring.suppressCalls();
    } else if (ring.inFlight > 0 && begun === options.chains && ring.requestCalls()) {
      awaitEvent(options.callFd);
    }
  }
  parentPort?.postMessage(done);
}

const mapping = Mapping.adopt(options.memory);
const memory = mapRing(mapping);
const { format, eventIdx } = options;
if (options.side === 'device') {
  runDevice(createDeviceRing(format, memory, eventIdx, firstBase(format)));
} else runDriver(createDriverRing(format, memory, { eventIdx }));
mapping.close();
