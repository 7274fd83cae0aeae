/** A machine that runs classic BPF over struct seccomp_data, as the kernel would. */
import assert from 'node:assert/strict';
import { BpfCode, INSTRUCTION_BYTES } from '../../src/sys/confinement/bpf-program.ts';

/** What a filter looks at. */
export interface SystemCall {
  readonly architecture: number;
  readonly number: number;
  /** Up to six; 64 bits each. */
  readonly args?: readonly bigint[];
}

function seccompData({ architecture, number, args = [] }: SystemCall): DataView {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, number, true);
  data.setUint32(4, architecture, true);
  for (const [index, value] of args.entries()) {
    data.setBigUint64(16 + index * 8, BigInt.asUintN(64, value), true);
  }
  return data;
}

/** What the program returns for a call, and after how many instructions. */
export function runBpf(
  program: Uint8Array,
  call: SystemCall,
): { readonly verdict: number; readonly steps: number } {
  const data = seccompData(call);
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  let accumulator = 0;
  for (let at = 0, steps = 1; ; steps++) {
    assert.ok(at * INSTRUCTION_BYTES < program.length, 'the program ends by a return');
    const place = at * INSTRUCTION_BYTES;
    const operation = code.getUint16(place, true);
    const operand = code.getUint32(place + 4, true);
    const branch = (taken: boolean): number => code.getUint8(place + (taken ? 2 : 3));
    at += 1;
    switch (operation) {
      case BpfCode.LOAD_WORD:
        accumulator = data.getUint32(operand, true);
        break;
      case BpfCode.AND:
        accumulator = (accumulator & operand) >>> 0;
        break;
      case BpfCode.JUMP:
        at += operand;
        break;
      case BpfCode.JUMP_EQUAL:
        at += branch(accumulator === operand);
        break;
      case BpfCode.JUMP_AT_LEAST:
        at += branch(accumulator >= operand);
        break;
      case BpfCode.RETURN:
        return { verdict: operand, steps };
      default:
        assert.fail(`unknown operation ${operation}`);
    }
  }
}
