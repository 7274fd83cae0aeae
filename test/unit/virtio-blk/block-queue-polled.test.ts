/** A ring whose driver sends no kicks, on a reactor that sleeps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestType, Status } from '../../../src/virtio-blk/index.ts';
import { missingEngine, onReactor, REACTOR_KINDS } from '../../support/reactors.ts';
import { ServedQueue } from '../../support/served-queue.ts';

for (const [engine, home] of REACTOR_KINDS) {
  const skip = missingEngine(engine) ?? false;
  test(`a request without a kick is found by ${engine}, ${home}`, { skip }, async () => {
    using served = new ServedQueue({ isPolled: true });
    let sent = 0;
    let answered = 0;
    await onReactor(engine, home, ({ reactor, done }) => {
      reactor.addSource(served.queue);
      reactor.addSource({
        maxSleepMs: Number.POSITIVE_INFINITY,
        poll: () => {
          for (const { status } of served.answers()) {
            assert.equal(status, Status.OK);
            answered += 1;
          }
          if (answered === 20) done();
          return false;
        },
        // The queue has just agreed to sleep: from here on nothing but time wakes the reactor.
        prepareToSleep: () => {
          if (sent === answered && sent < 20) {
            served.add({ type: RequestType.FLUSH });
            served.driver.publish();
            sent += 1;
          }
          return true;
        },
      });
    });
    assert.equal(answered, 20);
  });
}
