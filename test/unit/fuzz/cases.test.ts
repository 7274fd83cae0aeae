/** Cases as text, and the numbers and frames they are written with. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { action, formatAction, formatCase, parseAction, parseCase } from '../../../fuzz/action.ts';
import { frameOf, MESSAGE_NAMES } from '../../../fuzz/frames.ts';
import { generateCase } from '../../../fuzz/generator.ts';
import { REGIONS } from '../../../fuzz/geometry.ts';
import { parseNumber } from '../../../fuzz/numbers.ts';

const OPTIONS = { seed: 'cases', serverOptions: [], isIsolated: false };

test('a generated case reads back as it was written', () => {
  for (let number = 0; number < 300; number++) {
    const fuzzCase = generateCase(OPTIONS, number);
    assert.deepEqual(parseCase(formatCase(fuzzCase)), fuzzCase);
  }
});

test('comments and blank lines are no actions', () => {
  const text = '# why\n\nserver --read-only # now\n\nconnect 2   # another\n  kick 3 queue=1\n';
  assert.deepEqual(parseCase(text), {
    serverOptions: ['--read-only'],
    actions: [action('connect', [2]), action('kick', [3], { queue: 1 })],
    remarks: ['why'],
  });
});

test('a text that does not begin with the server is no case', () => {
  assert.throws(() => parseCase('connect\n'), {
    name: 'CaseError',
    message: /begins with "server"/,
  });
  assert.throws(() => parseCase(''), { name: 'CaseError' });
});

test('the same seed and number give the same case, others give others', () => {
  const text = (seed: string, number: number): string =>
    formatCase({ ...generateCase({ ...OPTIONS, seed }, number), remarks: [] });
  assert.equal(text('a', 7), text('a', 7));
  assert.notEqual(text('a', 7), text('a', 8));
  assert.notEqual(text('a', 7), text('b', 7));
});

test('numbers are decimal, hexadecimal, negative, or addresses', () => {
  assert.equal(parseNumber('12'), 12n);
  assert.equal(parseNumber('0x1f'), 31n);
  assert.equal(parseNumber('-1'), 2n ** 64n - 1n);
  assert.equal(parseNumber('guest1'), BigInt(REGIONS[1].guestAddress));
  assert.equal(parseNumber('user0+0x10'), BigInt(REGIONS[0].userAddress + 16));
  assert.equal(parseNumber('guest2-1'), BigInt(REGIONS[2].guestAddress - 1));
  for (const wrong of ['', 'x', '1x', 'guest7', 'user0*2', '0b1']) {
    assert.throws(() => parseNumber(wrong), { name: 'CaseError' }, wrong);
  }
});

test('a frame has what the case says, and the header that it lies', () => {
  const hex = (line: string): string => frameOf(parseAction(line)).bytes.toString('hex');
  assert.equal(hex('send SET_VRING_NUM index=1 num=3'), '0800000001000000080000000100000003000000');
  assert.equal(hex('send SET_OWNER need-reply'), '030000000900000000000000');
  assert.equal(
    hex('send SET_OWNER header-id=255 header-size=7 header-flags=0 append=aa'),
    'ff0000000000000007000000aa',
  );
  assert.equal(
    hex('send GET_CONFIG size=2'),
    '18000000010000000e000000000000000200000000000000' + '0000',
  );
  // Values that do not fit are cut, so that any number can be tried for any field.
  assert.equal(hex('send SET_VRING_NUM index=-1 num=0x1ffffffff').slice(24), 'ffffffffffffffff');
});

test('regions of a memory table are the fixed ones, or of the case’s own making', () => {
  const { bytes } = frameOf(parseAction('send SET_MEM_TABLE table=1,0x10/0x20/0x30/0x40'));
  assert.equal(bytes.readUInt32LE(12), 2);
  assert.equal(bytes.readBigUInt64LE(20), BigInt(REGIONS[1].guestAddress));
  const own = [0, 1, 2, 3].map((index) => Number(bytes.readBigUInt64LE(52 + index * 8)));
  assert.deepEqual(own, [0x10, 0x20, 0x30, 0x40]);
});

test('every message can be sent without a word about what is in it', () => {
  for (const name of MESSAGE_NAMES) {
    const { bytes } = frameOf(parseAction(`send ${name}`));
    assert.equal(bytes.length, 12 + bytes.readUInt32LE(8), name);
  }
  assert.throws(() => frameOf(parseAction('send NONE')), { name: 'CaseError' });
});

test('an action without a value for a key is written without the key', () => {
  assert.equal(formatAction(action('send', ['X'], { a: undefined, b: 1n })), 'send X b=1');
});
