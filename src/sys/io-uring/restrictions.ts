/**
 * What a ring may be used for (io_uring_register(2), IORING_REGISTER_RESTRICTIONS; Linux 5.10).
 *
 * Requests of a ring are not looked at by seccomp filters. A ring that can only do what vhostkit
 * does cannot open, connect or unlink anything, whoever gets to write into it.
 */
import { Mapping } from '../mapping.ts';
import { Op, Register, Restriction, Sqe } from './constants.ts';

/** Bytes of struct io_uring_restriction { u16 opcode; u8 value; u8 resv; u32 resv2[3] }. */
const RESTRICTION_BYTES = 16;

const ALLOWED: readonly (readonly [what: number, value: number])[] = [
  ...Object.values(Op).map((operation) => [Restriction.SQE_OP, operation] as const),
  [Restriction.SQE_FLAGS_ALLOWED, Object.values(Sqe).reduce((all, flag) => all | flag, 0)],
  ...[Register.FILES, Register.FILES_UPDATE, Register.EVENTFD, Register.ENABLE_RINGS].map(
    (operation) => [Restriction.REGISTER_OP, operation] as const,
  ),
];

/**
 * Restrict a ring that was set up disabled, and enable it.
 *
 * @param register - io_uring_register(2) on the ring; throws.
 */
export function restrictRing(
  register: (operation: number, address: number, count: number) => void,
): void {
  using block = Mapping.anonymous(4096);
  const view = new DataView(block.view(0, ALLOWED.length * RESTRICTION_BYTES));
  ALLOWED.forEach(([what, value], index) => {
    view.setUint16(index * RESTRICTION_BYTES, what, true);
    view.setUint8(index * RESTRICTION_BYTES + 2, value);
  });
  register(Register.RESTRICTIONS, block.address, ALLOWED.length);
  register(Register.ENABLE_RINGS, 0, 0);
}
