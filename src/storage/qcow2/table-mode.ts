/**
 * When changed tables of a qcow2 image are written.
 *
 * - `write-back`: by a flush, and when there is no room for more. A write to a new cluster that was
 *   not flushed is lost with the process, as it would be with the power.
 * - `write-through`: before the write that changed them is answered. Only the power can take it then.
 *   What is written where clusters are already costs no more than it does otherwise.
 */
export type TableMode = 'write-back' | 'write-through';

/** The modes, for option parsers. */
export const TABLE_MODES: readonly TableMode[] = ['write-back', 'write-through'];
