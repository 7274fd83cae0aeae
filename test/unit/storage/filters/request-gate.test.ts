/** Moments without requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestGate } from '../../../../src/storage/filters/blocks/request-gate.ts';

test('what is done alone waits for requests, and requests wait for it', async () => {
  const gate = new RequestGate();
  const order: string[] = [];
  let endFirst = (): void => {};
  const first = gate.pass(async () => {
    order.push('first begins');
    await new Promise<void>((resolve) => {
      endFirst = resolve;
    });
    order.push('first ends');
  });
  const alone = gate.alone(async () => {
    order.push('alone begins');
    await new Promise((resolve) => setImmediate(resolve));
    order.push('alone ends');
  });
  const second = gate.pass(() => void order.push('second'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(order, ['first begins']);
  endFirst();
  await Promise.all([first, alone, second]);
  assert.deepEqual(order, ['first begins', 'first ends', 'alone begins', 'alone ends', 'second']);
});

test('requests that fail are over, and so is what fails alone', async () => {
  const gate = new RequestGate();
  const fail = (): never => {
    throw new Error('no');
  };
  assert.throws(() => gate.pass(fail), /no/);
  await assert.rejects(Promise.resolve(gate.pass(async () => fail())), /no/);
  await assert.rejects(
    gate.alone(async () => fail()),
    /no/,
  );
  let isDone = false;
  await gate.pass(() => {
    isDone = true;
  });
  assert.ok(isDone);
});
