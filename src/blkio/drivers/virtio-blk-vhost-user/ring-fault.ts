/** What a back-end can do wrong on a ring. */
export const RingFault = {
  /** It signalled the error event. */
  REPORTED: 1,
  /** A used entry names a chain that the back-end does not have. */
  UNKNOWN_CHAIN: 2,
} as const;
export type RingFault = (typeof RingFault)[keyof typeof RingFault];

const DESCRIPTIONS: Readonly<Record<RingFault, string>> = {
  [RingFault.REPORTED]: 'the back-end says that the ring is broken',
  [RingFault.UNKNOWN_CHAIN]: 'the back-end has used a chain that it does not have',
};

/** A fault in words; any number will do. */
export function describeRingFault(fault: number): string {
  return DESCRIPTIONS[fault as RingFault] ?? `ring fault ${fault}`;
}
