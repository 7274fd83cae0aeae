/** Does the same on a real ring and on the model, and compares all that can be seen. */
import assert from 'node:assert/strict';
import { BAD_USED, NO_USED, packedBase, type RingFormat } from '../../src/virtqueue/index.ts';
import { type ModelChain, RingModel } from './ring-model.ts';
import { INDIRECT_ENTRIES, RingPair, type RingPairOptions } from './ring-pair.ts';

/** Steps that are about who wants to be told of what. */
type WishStep =
  | { readonly kind: 'suppressKicks' | 'requestKicks' | 'suppressCalls' }
  | { readonly kind: 'requestCalls'; readonly after: number };

/** What one side does next. Numbers too large for the moment are cut down or passed over. */
export type RingStep =
  | WishStep
  | { readonly kind: 'add'; readonly pieces: number; readonly count: number }
  | { readonly kind: 'publishAvailable' }
  | { readonly kind: 'take'; readonly count: number }
  | { readonly kind: 'complete'; readonly pick: number; readonly count: number }
  | { readonly kind: 'publishUsed' }
  | { readonly kind: 'takeBack'; readonly count: number };

/** See the module's comment. */
export class RingWalk {
  readonly #pair: RingPair;
  readonly #model: RingModel;
  readonly #options: RingPairOptions;
  readonly #format: RingFormat;
  /** Each piece of each chain has an address of its own: a mix-up shows. */
  #nextAddress = 1;
  /** The device has been told that it may sleep: it hears of the next entry by a kick only. */
  #deviceAsleep = false;
  /** The driver sleeps until this many chains, or descriptors, are used. */
  #driverSleepsUntil = 0;

  constructor(options: RingPairOptions, cycles: number) {
    this.#options = options;
    this.#pair = new RingPair(options);
    this.#pair.cycle(cycles);
    this.#format = options.format ?? 'split';
    this.#model = new RingModel({ ...options, format: this.#format }, cycles);
  }

  /** Do a step on both and compare. */
  step(step: RingStep): void {
    switch (step.kind) {
      case 'add':
        for (let done = 0; done < step.count; done++) this.#add(step.pieces);
        break;
      case 'publishAvailable':
        this.#publishAvailable();
        break;
      case 'take':
        for (let done = 0; done < step.count && this.#model.available.length > 0; done++) {
          this.#take();
        }
        break;
      case 'complete':
        for (let done = 0; done < step.count && this.#model.taken.length > 0; done++) {
          this.#complete(step.pick + done);
        }
        break;
      case 'publishUsed':
        this.#publishUsed();
        break;
      case 'takeBack':
        for (let done = 0; done < step.count; done++) this.#takeBack();
        break;
      case 'suppressKicks':
      case 'requestKicks':
      case 'suppressCalls':
      case 'requestCalls':
        this.#wish(step);
    }
    this.#compare();
  }

  /** Let everything under way come home, and see that all of it does. */
  finish(): void {
    const all = 65536;
    this.step({ kind: 'publishAvailable' });
    this.step({ kind: 'take', count: all });
    this.step({ kind: 'complete', pick: 0, count: all });
    this.step({ kind: 'publishUsed' });
    this.step({ kind: 'takeBack', count: all });
    assert.equal(this.#pair.driver.freeCount, this.#options.size);
    assert.equal(this.#pair.driver.inFlight, 0);
    assert.equal(this.#model.takenBackTotal, this.#model.committedTotal);
  }

  #add(pieces: number): void {
    const { driver } = this.#pair;
    const isIndirect = this.#options.indirect && pieces <= INDIRECT_ENTRIES;
    const descriptors = isIndirect ? 1 : pieces;
    const fits = descriptors <= this.#model.freeDescriptors;
    assert.equal(driver.begin(pieces), fits);
    if (!fits) return;
    const addresses: number[] = [];
    for (let piece = 0; piece < pieces; piece++) {
      const address = this.#nextAddress++;
      driver.add(address, -address, address % 1000, piece >= pieces >> 1);
      if (address % 1000 !== 0) addresses.push(address);
    }
    const chain = { head: driver.commit(), addresses, descriptors, token: 0, usedLength: 0 };
    this.#model.commit(chain);
  }

  #publishAvailable(): void {
    const shown = this.#model.committed.length;
    const mustKick = this.#model.publishAvailable();
    const kicked = this.#pair.driver.publish();
    assert.equal(kicked, mustKick, 'kick');
    if (this.#deviceAsleep && shown > 0) {
      assert.ok(kicked, 'a device that may sleep gets a kick');
      this.#deviceAsleep = false;
    }
  }

  #take(): void {
    const { chain } = this.#pair;
    const expected = this.#model.take();
    assert.ok(expected);
    expected.token = this.#pair.take();
    assert.equal(this.#format === 'split' ? chain.token : chain.bufferId, expected.head);
    const seen = Array.from(chain.addressLow.subarray(0, chain.count));
    assert.deepEqual(seen, expected.addresses);
    for (let at = 0; at < chain.count; at++) {
      assert.equal(chain.addressHigh[at], -seen[at]);
      assert.equal(chain.length[at], seen[at] % 1000);
    }
  }

  #complete(pick: number): void {
    const length = this.#model.takenTotal * 7919 + pick;
    const chain = this.#model.complete(pick % this.#model.taken.length, length);
    this.#pair.device.pushUsed(chain.token, length);
  }

  #publishUsed(): void {
    const { device } = this.#pair;
    const mustCall = this.#model.mustCall();
    const before = this.#model.usedTotal;
    const hint = device.wouldCall;
    const called = device.publish();
    this.#model.publishUsed();
    assert.equal(called, mustCall, 'call');
    assert.equal(hint, called, 'wouldCall says what publish then does');
    const until = this.#driverSleepsUntil;
    if (until > before && this.#model.usedTotal >= until) {
      assert.ok(called, 'a driver that sleeps until an entry is called for it');
      this.#driverSleepsUntil = 0;
    }
  }

  #takeBack(): void {
    const { driver } = this.#pair;
    const expected = this.#model.takeBack();
    const head = driver.takeUsed();
    if (expected === undefined) {
      assert.equal(head, NO_USED);
      return;
    }
    assert.notEqual(head, BAD_USED);
    const seen: Pick<ModelChain, 'head' | 'usedLength'> = {
      head,
      usedLength: driver.usedLength,
    };
    assert.deepEqual(seen, { head: expected.head, usedLength: expected.usedLength });
  }

  #wish(step: WishStep): void {
    const { device, driver } = this.#pair;
    const model = this.#model;
    const { eventIdx } = this.#options;
    switch (step.kind) {
      case 'suppressKicks':
        device.suppressKicks();
        model.kicks.suppress();
        this.#deviceAsleep = false;
        break;
      case 'requestKicks':
        model.kicks.request(model.takenTotal);
        this.#deviceAsleep = device.requestKicks();
        assert.equal(this.#deviceAsleep, model.available.length === 0);
        break;
      case 'suppressCalls':
        driver.suppressCalls();
        model.calls.suppress();
        this.#driverSleepsUntil = 0;
        break;
      case 'requestCalls': {
        const asked = eventIdx ? step.after : 1;
        // There are no more descriptors than that: no later place can be asked for.
        const after = this.#format === 'split' ? asked : Math.min(asked, this.#options.size);
        const until = model.takenBackTotal + after;
        model.calls.request(until - 1);
        const mayWait = driver.requestCalls(asked);
        assert.equal(mayWait, model.usedTotal < until);
        this.#driverSleepsUntil = mayWait ? until : 0;
        break;
      }
    }
  }

  #compare(): void {
    const { driver, device } = this.#pair;
    const model = this.#model;
    assert.equal(driver.freeCount, model.freeDescriptors);
    assert.equal(driver.inFlight, model.inFlight);
    assert.equal(driver.usedCount(), model.used.length);
    assert.equal(device.availableCount(), model.available.length);
    assert.equal(device.unpublished, model.pushed.length);
    assert.equal(device.base, this.#expectedBase());
  }

  #expectedBase(): number {
    const { takenTotal, pushedTotal } = this.#model;
    if (this.#format === 'split') return takenTotal % 65536;
    const { size } = this.#options;
    return packedBase(takenTotal % (2 * size), pushedTotal % (2 * size), size);
  }
}
