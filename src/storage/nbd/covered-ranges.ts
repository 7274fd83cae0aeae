/** Which parts of a read have come: pieces may come in any order, and none twice. */

/** Parts with gaps between them; servers that leave more have something in mind. */
const MAX_PARTS = 4096;

/** See the module's comment. */
export class CoveredRanges {
  /** Where parts begin and end, in order, none touching the next. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  /** Add a part of at least one byte; false: some of it was there, or it is one too many. */
  add(start: number, end: number): boolean {
    const starts = this.#starts;
    const ends = this.#ends;
    // Most come in order: the search begins at the end.
    let at = starts.length;
    while (at > 0 && starts[at - 1] >= end) at -= 1;
    if (at > 0 && ends[at - 1] > start) return false;
    const touchesLeft = at > 0 && ends[at - 1] === start;
    const touchesRight = at < starts.length && starts[at] === end;
    if (touchesLeft && touchesRight) {
      ends[at - 1] = ends[at];
      starts.splice(at, 1);
      ends.splice(at, 1);
    } else if (touchesLeft) {
      ends[at - 1] = end;
    } else if (touchesRight) {
      starts[at] = start;
    } else {
      starts.splice(at, 0, start);
      ends.splice(at, 0, end);
    }
    return starts.length <= MAX_PARTS;
  }

  /** Whether there is one part, and it is this one. */
  isExactly(start: number, end: number): boolean {
    return this.#starts.length === 1 && this.#starts[0] === start && this.#ends[0] === end;
  }
}
