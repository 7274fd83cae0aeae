/** The in-flight log of a split ring in memory: its layout, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { inflightLogBytes, SplitInflightLog } from '../../../src/virtqueue/index.ts';

const SIZE = 8;
const BYTES = inflightLogBytes(SIZE, 'split');

function logOver(memory: ArrayBuffer): SplitInflightLog {
  return new SplitInflightLog({ memory, queueSize: SIZE });
}

test('a log that is not of the ring is refused', () => {
  const faultOf = (spoil: (words: Uint16Array) => void, usedIdx = 0): string | undefined => {
    const memory = new ArrayBuffer(BYTES);
    const log = logOver(memory);
    log.recover(0);
    spoil(new Uint16Array(memory));
    return log.recover(usedIdx).fault;
  };
  assert.equal(
    faultOf(() => {}),
    undefined,
  );
  const cases: readonly (readonly [number, number, number, RegExp])[] = [
    [4, 2, 0, /version 2/],
    [5, 9, 0, /9 descriptors, not 8/],
    [7, 100, 0, /65436 used entries behind/],
    [6, 8, 1, /links to descriptor 8/],
    [6, 0xffff, 1, /links to descriptor 65535/],
  ];
  for (const [word, value, usedIdx, reason] of cases) {
    const spoil = (words: Uint16Array): void => {
      words[word] = value;
    };
    assert.match(faultOf(spoil, usedIdx) ?? 'no fault', reason);
  }
});

test('whatever the memory holds, recovery ends and names heads of the ring only', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: BYTES, maxLength: BYTES }),
      fc.nat(0xffff),
      (bytes, usedIdx) => {
        const memory = new ArrayBuffer(bytes.length);
        new Uint8Array(memory).set(bytes);
        const words = new Uint16Array(memory);
        [words[4], words[5]] = [1, SIZE];
        const { heads } = logOver(memory).recover(usedIdx);
        assert.ok(heads.length <= SIZE && heads.every((head) => head < SIZE));
      },
    ),
  );
});

test('the layout is libvhost-user’s', () => {
  assert.equal(inflightLogBytes(128, 'split'), Math.ceil((16 * 128 + 16) / 64) * 64);
  const memory = new ArrayBuffer(BYTES);
  const log = logOver(memory);
  log.recover(5);
  log.begin(3);
  log.begin(1);
  const view = new DataView(memory);
  const header = [8, 10, 12, 14].map((at) => view.getUint16(at, true));
  assert.deepEqual(header, [1, SIZE, 0, 5], 'version, descriptors, last batch head, used index');
  const entry = (head: number): unknown[] => {
    const at = 16 + 16 * head;
    return [view.getUint8(at), view.getUint16(at + 6, true), view.getBigUint64(at + 8, true)];
  };
  assert.deepEqual(entry(3), [1, 0, 0n]);
  assert.deepEqual(entry(1), [1, 0, 1n]);
  log.finish(1);
  log.finish(3);
  assert.deepEqual([view.getUint16(12, true), entry(3)[1]], [3, 1], 'the batch, last first');
  log.commit(7);
  assert.deepEqual([entry(3)[0], entry(1)[0], view.getUint16(14, true)], [0, 0, 7]);
});
