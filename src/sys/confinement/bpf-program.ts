/**
 * Classic BPF, as seccomp filters use it (include/uapi/linux/filter.h, linux/bpf_common.h): an
 * assembler with labels. Jumps go forward only; the kernel accepts no others.
 */
import { strict as assert } from 'node:assert';

/** Operation codes: load a 32-bit word, mask it, jump, return. */
export const BpfCode = {
  LOAD_WORD: 0x20, // BPF_LD | BPF_W | BPF_ABS
  AND: 0x54, // BPF_ALU | BPF_AND | BPF_K
  JUMP: 0x05, // BPF_JMP | BPF_JA
  JUMP_EQUAL: 0x15, // BPF_JMP | BPF_JEQ | BPF_K
  JUMP_AT_LEAST: 0x35, // BPF_JMP | BPF_JGE | BPF_K
  RETURN: 0x06, // BPF_RET | BPF_K
} as const;

/** Bytes of struct sock_filter { u16 code; u8 jt; u8 jf; u32 k }. */
export const INSTRUCTION_BYTES = 8;
/** Most instructions of a program: BPF_MAXINSNS. */
const MAX_INSTRUCTIONS = 4096;

/** A place in a program, for jumps to it. */
export type Label = symbol;

interface Instruction {
  readonly code: number;
  readonly ifTrue: number;
  readonly ifFalse: number;
  /** The operand, or where to jump. */
  readonly operand: number | Label;
}

/** A program in the making. */
export class BpfProgram {
  readonly #instructions: Instruction[] = [];
  readonly #places = new Map<Label, number>();

  /** Load the word at a byte offset of what the program looks at. */
  load(offsetBytes: number): void {
    this.#add(BpfCode.LOAD_WORD, offsetBytes);
  }

  /** Keep only the bits of a mask of what is loaded. */
  and(mask: number): void {
    this.#add(BpfCode.AND, mask);
  }

  goto(target: Label): void {
    this.#add(BpfCode.JUMP, target);
  }

  gotoIfEqual(value: number, target: Label): void {
    // Conditional jumps reach 255 instructions, plain ones anywhere: jump over a plain one.
    this.#add(BpfCode.JUMP_EQUAL, value, 0, 1);
    this.goto(target);
  }

  gotoIfNotEqual(value: number, target: Label): void {
    this.#add(BpfCode.JUMP_EQUAL, value, 1, 0);
    this.goto(target);
  }

  /** Unsigned. */
  gotoIfAtLeast(value: number, target: Label): void {
    this.#add(BpfCode.JUMP_AT_LEAST, value, 0, 1);
    this.goto(target);
  }

  return(value: number): void {
    this.#add(BpfCode.RETURN, value);
  }

  /** The label stands for the next instruction. */
  mark(label: Label): void {
    assert(!this.#places.has(label), 'a label marks one place');
    this.#places.set(label, this.#instructions.length);
  }

  /** The program as the kernel takes it: an array of struct sock_filter. */
  assemble(): Uint8Array {
    const count = this.#instructions.length;
    assert(count > 0 && count <= MAX_INSTRUCTIONS, `program of ${count} instructions`);
    const view = new DataView(new ArrayBuffer(count * INSTRUCTION_BYTES));
    this.#instructions.forEach(({ code, ifTrue, ifFalse, operand }, index) => {
      const at = index * INSTRUCTION_BYTES;
      view.setUint16(at, code, true);
      view.setUint8(at + 2, ifTrue);
      view.setUint8(at + 3, ifFalse);
      const word = typeof operand === 'number' ? operand : this.#distance(index, operand);
      view.setUint32(at + 4, word, true);
    });
    return new Uint8Array(view.buffer);
  }

  #add(code: number, operand: number | Label, ifTrue = 0, ifFalse = 0): void {
    this.#instructions.push({ code, ifTrue, ifFalse, operand });
  }

  /** How many instructions a jump skips. */
  #distance(from: number, target: Label): number {
    const place = this.#places.get(target);
    assert(place !== undefined && place > from, 'a jump leads forward to a marked place');
    return place - from - 1;
  }
}
