/** The filter `log`: a trace of the requests to the disk below. */
import { type DiskKind, type DiskLike, DiskPlan } from '../../plan/disk-kind.ts';
import { oneOf, text } from '../../plan/parameter-types.ts';
import { TRACE_FORMATS, type TraceFormat } from './trace-record.ts';

/** See the kind's parameters. */
export interface LogParameters {
  readonly file?: string;
  readonly format?: TraceFormat;
}

/** See the module's comment. */
export const logKind: DiskKind<LogParameters> = {
  name: 'log',
  summary: 'writes down each request',
  below: 'one',
  parameters: {
    file: { type: text('path'), summary: 'where to; it is appended to' },
    format: { type: oneOf(TRACE_FORMATS), summary: 'for people or for programs' },
  },
  // Its modules are read only if there is one.
  open: async (context) => (await import('./open-log.ts')).openLog(context),
};

/** A disk whose requests are written down. */
export function log(disk: DiskLike, parameters: LogParameters = {}): DiskPlan {
  return new DiskPlan(logKind, parameters, [disk]);
}
